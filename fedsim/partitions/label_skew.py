"""Label skew of degree q: each class has a home group of clients."""

import torch
from jaxtyping import Int
from torch import Tensor

from fedsim.partitions import partitions
from fedsim.partitions._owners import by_owner, require_samples
from fedsim.strict import Share


@partitions.register
def label_skew(
    labels: Int[Tensor, " n"], num_clients: int, generator: torch.Generator, *, q: Share
) -> list[Tensor]:
    """A split in which a sample goes to its class's group of clients with probability `q`.

    The clients form K random groups, one per class. A sample of class l goes to group l with
    probability q, to any other with (1 − q) / (K − 1), and there to a client drawn uniformly:
    q = 1/K is IID in distribution, q = 1 gives each client one class.

    Paper: Fang et al., USENIX Security 2020, arXiv:1911.11815; Cao et al., NDSS 2021,
        arXiv:2012.13995.
    Differs: groups differ by at most 1 client; with fewer clients than classes a client belongs to
        several groups. A client that drew nothing gets a sample of the largest client.
    Raises: ValueError if there are more clients than samples.

    >>> seeded = torch.Generator().manual_seed(0)
    >>> label_skew(torch.tensor([7, 9, 7, 9]), 2, seeded, q=1.0)
    [tensor([0, 2]), tensor([1, 3])]
    """
    require_samples(labels, num_clients)
    classes, home = torch.unique(labels, return_inverse=True)
    k, n = len(classes), len(labels)
    away = (home + torch.randint(1, max(k, 2), (n,), generator=generator)) % k
    group = torch.where(torch.rand(n, generator=generator, dtype=torch.float64) < q, home, away)
    places = max(num_clients, k)  # place p is client order[p mod n] and belongs to group p mod k
    order = torch.randperm(num_clients, generator=generator)
    room = (places - group + k - 1) // k
    place = group + k * (torch.randint(2**62, (n,), generator=generator) % room)
    return by_owner(order[place % num_clients], num_clients)
