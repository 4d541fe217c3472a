"""From an owner per sample to one sorted index tensor per client, and shares that sum to one."""

import heapq
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor


def require_samples(labels: Int[Tensor, " n"], num_clients: int, min_size: int = 1) -> None:
    """Raise ValueError unless `num_clients` can hold `min_size` of the samples each."""
    if num_clients < 1:
        raise ValueError(f"a partition needs at least 1 client; got {num_clients}")
    if len(labels) < num_clients * min_size:
        raise ValueError(
            f"{num_clients} clients with at least {min_size} each need "
            f"{num_clients * min_size} samples; got {len(labels)}"
        )


def by_owner(owner: Int[Tensor, " n"], num_clients: int, min_size: int = 1) -> list[Tensor]:
    """The sorted indices of each client, where sample i belongs to client `owner[i]`.

    A client below `min_size` is filled up by `moves`; a giver gives its lowest index.
    """
    sizes = owner.bincount(minlength=num_clients).tolist()
    parts = list(torch.split(owner.argsort(stable=True), sizes))
    moved: dict[int, list[Tensor]] = {}
    for giver, receiver in moves(sizes, min_size):
        moved.setdefault(receiver, []).append(parts[giver][:1])
        parts[giver] = parts[giver][1:]
    for receiver, samples in moved.items():
        parts[receiver] = torch.cat([parts[receiver], *samples]).sort().values
    return parts


def moves(sizes: list[int], min_size: int) -> Iterator[tuple[int, int]]:
    """(giver, receiver) of each sample to move until nobody is below `min_size`.

    The poor receive in order of their ids; the giver is always the largest client at that moment,
    of equally large ones the lowest id.
    """
    rich = [(-size, client) for client, size in enumerate(sizes) if size > min_size]
    heapq.heapify(rich)
    for receiver, has in enumerate(sizes):
        for _ in range(min_size - has):
            size, giver = rich[0]
            heapq.heapreplace(rich, (size + 1, giver))
            yield giver, receiver


def dirichlet_shares(alpha: float, count: int, generator: torch.Generator) -> Float[Tensor, " k"]:
    """One draw from the symmetric Dirichlet distribution with concentration `alpha`.

    Gamma(α) = Gamma(α + 1) · U^(1/α) in logarithms, so that a tiny α gives no NaN.
    """
    shape = torch.full((count,), alpha + 1.0, dtype=torch.float64)
    logs = torch._standard_gamma(shape, generator=generator).log()
    uniform = 1 - torch.rand(count, generator=generator, dtype=torch.float64)
    scaled = uniform.log() + alpha * (logs - logs.max())
    return ((scaled - scaled.max()) / alpha).softmax(dim=0)


def whole_counts(shares: Float[Tensor, " k"], total: int) -> Int[Tensor, " k"]:
    """Whole numbers that sum to `total`, each at most 1 away from `shares · total`."""
    bounds = (shares.cumsum(dim=0) * total).round().long()
    return bounds.diff(prepend=bounds.new_zeros(1))
