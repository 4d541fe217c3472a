"""Shards: few classes a client, by dealing out runs of the data sorted by label."""

import torch
from jaxtyping import Int
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import by_owner, require_samples
from fedsim.strict import Positive


@partitions.register
def shards(
    labels: Int[Tensor, " n"],
    num_clients: int,
    generator: torch.Generator,
    *,
    per_client: Positive = 2,
) -> list[Tensor]:
    """A split in which each client holds `per_client` random shards of the data sorted by label.

    There are num_clients · per_client shards, consecutive in that order and equally large.

    Paper: McMahan et al., AISTATS 2017, arXiv:1602.05629.
    Differs: sizes need not divide evenly, shards then differ by 1. With more shards than samples
        some shards are empty, and a client left with nothing gets a sample of the largest client.
    Raises: ValueError if there are more clients than samples.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> shards(torch.tensor([0, 0, 1, 1]), 2, seeded, per_client=1)
    [tensor([0, 1]), tensor([2, 3])]
    """
    require_samples(labels, num_clients)
    num_shards = num_clients * per_client
    shuffled = torch.randperm(num_shards, generator=generator)
    holder = shuffled % num_clients
    owner = torch.empty(len(labels), dtype=torch.long)
    shard = torch.arange(len(labels)) * num_shards // len(labels)
    owner[labels.argsort(stable=True)] = holder[shard]
    return by_owner(owner, num_clients)
