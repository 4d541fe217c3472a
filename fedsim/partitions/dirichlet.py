"""Dirichlet label skew: each class is shared out in random proportions."""

from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import by_owner, dirichlet_shares, require_samples, whole_counts
from fedsim.strict import Positive


@partitions.register
def dirichlet(
    labels: Int[Tensor, " n"],
    num_clients: int,
    generator: torch.Generator,
    *,
    alpha: Annotated[float, Field(gt=0)],
    min_size: Positive = 1,
) -> list[Tensor]:
    """A split in which client i holds the share p_i of each class, p drawn anew per class.

    p ~ Dir(alpha · 1) over the clients; small `alpha` is far from IID, large `alpha` near it.
    `min_size` is the least number of samples a client holds, reached by moving samples.

    Paper: Bagdasaryan et al., AISTATS 2020, arXiv:1807.00459; Yurochkin et al., ICML 2019,
        arXiv:1905.12022.
    Differs: nothing is drawn again until it fits and nothing is balanced; a client below `min_size`
        is filled up with the lowest indices of the largest client, and only these two depart from
        the drawn shares. Counts are rounded so that every sample has exactly one owner. Hsu et al.
        (2019, arXiv:1909.06335) draw the mixture of classes per client and give all clients one
        size; here sizes vary.
    Raises: ValueError if there are fewer than `min_size` samples per client.

    >>> labels, seeded = torch.arange(40) % 2, torch.Generator().manual_seed(0)
    >>> [len(part) for part in dirichlet(labels, 3, seeded, alpha=1e-3, min_size=4)]
    [18, 4, 18]
    """
    require_samples(labels, num_clients, min_size)
    owner = torch.empty(len(labels), dtype=torch.long)
    for label in torch.unique(labels):
        members = (labels == label).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=generator)]
        counts = whole_counts(dirichlet_shares(alpha, num_clients, generator), len(members))
        owner[members] = torch.arange(num_clients).repeat_interleave(counts)
    return by_owner(owner, num_clients, min_size)
