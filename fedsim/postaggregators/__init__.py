"""What the server does to the one update after its rule: (update (d,), view) → (d,)."""

from fedsim.registry import Registry

postaggregators = Registry("postaggregators")
names, build = postaggregators.names, postaggregators.build
