"""Who holds what: (labels (N,), num_clients, generator) → one index tensor per client."""

from fedsim.registry import Registry

partitions = Registry("partitions")
names, build = partitions.names, partitions.build
