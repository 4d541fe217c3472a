"""A test split that needs no random numbers."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def evenly_spaced(labels: Int[Tensor, " n"], num_test: int) -> Bool[Tensor, " n"]:
    """True for `num_test` samples, the same share of each class, evenly spaced within it.

    Class c with n_c samples gives k_c ≈ n_c · num_test / N of them (largest remainders first, then
    lowest class), those at the positions ⌊i · n_c / k_c⌋.

    >>> evenly_spaced(torch.tensor([0, 0, 0, 0, 1, 1]), 3).int()
    tensor([1, 0, 1, 0, 1, 0], dtype=torch.int32)
    """
    sizes = labels.bincount()
    quota, rest = sizes * num_test // len(labels), sizes * num_test % len(labels)
    missing = num_test - int(quota.sum())
    quota[rest.argsort(descending=True, stable=True)[:missing]] += 1
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, count in enumerate(quota.tolist()):
        members = (labels == label).nonzero().flatten()
        if count:
            chosen[members[torch.arange(count) * len(members) // count]] = True
    return chosen
