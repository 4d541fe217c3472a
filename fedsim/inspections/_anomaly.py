"""How far below the others a class's number lies, in robust standard deviations."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedsim.tensors import median

_FROM_MAD = 1.4826  # of a normal distribution: its standard deviation over its MAD
_FROM_MEAN = 1.2533  # and over its mean absolute deviation
_FEWEST = 3


def check_classes(name: str, num_classes: int) -> None:
    """ValueError if there are too few classes for one to be an outlier among them."""
    if num_classes < _FEWEST:
        raise ValueError(f"{name} needs at least {_FEWEST} classes to compare; got {num_classes}")


def among(
    name: str,
    known: Bool[Tensor, " k"],
    index: Callable[[Tensor], Tensor],
    values: Float[Tensor, " k"],
) -> Float[Tensor, " k"]:
    """The `index` of the known values among themselves; 0 for the others.

    ValueError in the name of the inspection if there are fewer than 3 to compare.

    >>> known = Tensor([1, 1, 1, 1, 1, 0]).bool()
    >>> [round(float(i), 2) for i in among("", known, below_median, Tensor([1, 9, 10, 11, 12, 99]))]
    [6.07, 0.67, 0.0, -0.67, -1.35, 0.0]
    """
    count = int(known.sum())
    if count < _FEWEST:
        raise ValueError(
            f"{name} found a way to {count} of {len(known)} classes, too few to compare"
        )
    found = torch.zeros_like(values)
    found[known] = index(values[known])
    return found


def below_median(norms: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """(median − norm) / (1.4826 · MAD): positive for the small, negative for the large.

    Where the MAD is 0, 1.2533 times the mean absolute deviation stands for it; where that is 0
    too, nothing is an outlier and all are 0.

    >>> below_median(Tensor([1, 9, 10, 11, 12]))[0] * 1.4826
    tensor(9.)
    """
    deviations = median(norms) - norms
    return deviations / _deviation(deviations.abs())


def above_median(values: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """As `below_median` of the negative values: positive for the large."""
    return below_median(-values)


def double_below_median(norms: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    """As `below_median`, but the MAD of each side of the median is that of its own side's norms.

    >>> double_below_median(Tensor([1, 9, 10, 11, 90]))[0] * 1.4826
    tensor(9.)
    """
    deviations = median(norms) - norms
    small, large = deviations >= 0, deviations <= 0
    below = deviations / _deviation(deviations[small].abs())
    return below.where(small, deviations / _deviation(deviations[large].abs()))


def _deviation(distances: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The standard deviation that these distances from the median speak for; 1 where all are 0."""
    by_mad, by_mean = _FROM_MAD * median(distances), _FROM_MEAN * distances.mean()
    found = by_mad.where(by_mad > 0, by_mean)
    return found.where(found > 0, 1)
