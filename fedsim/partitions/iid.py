"""IID: everybody holds a random sample of the same size."""

import torch
from jaxtyping import Int
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import by_owner, require_samples


@partitions.register
def iid(labels: Int[Tensor, " n"], num_clients: int, generator: torch.Generator) -> list[Tensor]:
    """A random split in which the sizes of two clients differ by at most 1.

    Sample π(i) belongs to client i mod n, π a random permutation.

    Paper: McMahan et al., AISTATS 2017, arXiv:1602.05629.
    Differs: sizes need not divide evenly; the first clients hold the samples left over.
    Raises: ValueError if there are more clients than samples.

    >>> [len(part) for part in iid(torch.zeros(8).long(), 3, torch.Generator().manual_seed(0))]
    [3, 3, 2]
    """
    require_samples(labels, num_clients)
    turns = torch.arange(len(labels)) % num_clients
    return by_owner(turns[torch.randperm(len(labels), generator=generator)], num_clients)
