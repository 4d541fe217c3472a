"""Quantity skew: every client sees the same distribution, in very different amounts."""

from typing import Annotated

import torch
from jaxtyping import Int
from pydantic import Field
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import (
    by_owner,
    dirichlet_shares,
    moves,
    require_samples,
    whole_counts,
)
from fedsim.strict import Positive


@partitions.register
def quantity_skew(
    labels: Int[Tensor, " n"],
    num_clients: int,
    generator: torch.Generator,
    *,
    alpha: Annotated[float, Field(gt=0)],
    min_size: Positive = 1,
) -> list[Tensor]:
    """A random split in which client i holds the share p_i of all samples, whatever their class.

    p ~ Dir(alpha · 1) over the clients; small `alpha` gives nearly all to few of them.
    `min_size` is the least number of samples a client holds, reached by moving samples.

    Paper: Li et al., ICDE 2022, arXiv:2102.02079.
    Differs: nothing is drawn again until it fits; a client below `min_size` is filled up from the
        largest client before samples are drawn, so mixtures stay as they are.
    Raises: ValueError if there are fewer than `min_size` samples per client.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> [len(part) for part in quantity_skew(torch.zeros(99).long(), 3, seeded, alpha=1.0)]
    [74, 14, 11]
    """
    require_samples(labels, num_clients, min_size)
    counts = whole_counts(dirichlet_shares(alpha, num_clients, generator), len(labels))
    for giver, receiver in moves(counts.tolist(), min_size):
        counts[giver] -= 1
        counts[receiver] += 1
    owner = torch.arange(num_clients).repeat_interleave(counts)
    return by_owner(owner[torch.randperm(len(labels), generator=generator)], num_clients)
