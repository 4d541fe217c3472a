"""By class: every client holds samples of a fixed number of classes."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import by_owner, require_samples
from fedsim.strict import Positive


@partitions.register
def by_class(
    labels: Int[Tensor, " n"],
    num_clients: int,
    generator: torch.Generator,
    *,
    classes_per_client: Positive,
) -> list[Tensor]:
    """A split in which each client holds `classes_per_client` random classes.

    The samples of a class are shared equally, at random, among the clients that hold it.

    Paper: Li et al., ICDE 2022, arXiv:2102.02079 (there #C = k).
    Differs: a class that nobody drew takes the place of the class most often held, at the lowest
        client holding it. Where even that leaves none to replace (num_clients · classes_per_client
        below the number of classes), it goes to the client with the fewest classes, on top. A
        client left with nothing (its classes being rare) gets a sample of the largest client.
    Raises: ValueError if there are more clients than samples, or fewer classes among the labels
        than `classes_per_client`.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> [len(p) for p in by_class(torch.arange(12) % 3, 4, seeded, classes_per_client=1)]
    [2, 4, 2, 4]
    """
    require_samples(labels, num_clients)
    classes, index = torch.unique(labels, return_inverse=True)
    if classes_per_client > len(classes):
        raise ValueError(
            f"by_class needs at least classes_per_client={classes_per_client} classes among the "
            f"labels; got {len(classes)}"
        )
    drawn = torch.rand(num_clients, len(classes), generator=generator).argsort(dim=1, stable=True)
    holds = torch.zeros(num_clients, len(classes), dtype=torch.bool)
    holds.scatter_(1, drawn[:, :classes_per_client], True)
    _own_every_class(holds)
    owner = torch.empty(len(labels), dtype=torch.long)
    for column in range(len(classes)):
        members = (index == column).nonzero().flatten()
        holders = holds[:, column].nonzero().flatten()
        turns = torch.randperm(len(members), generator=generator) % len(holders)
        owner[members] = holders[turns]
    return by_owner(owner, num_clients)


def _own_every_class(holds: Bool[Tensor, "n k"]) -> None:
    """Give every class a holder, in place; the table says which client holds which class."""
    for orphan in (~holds.any(dim=0)).nonzero().flatten():
        most_held = holds.sum(dim=0).argmax()
        if holds[:, most_held].sum() > 1:
            client = holds[:, most_held].nonzero()[0, 0]
            holds[client, most_held] = False
        else:
            client = holds.sum(dim=1).argmin()
        holds[client, orphan] = True
