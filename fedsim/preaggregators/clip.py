"""Norm clipping: no row counts for more than a bound."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.preaggregators import preaggregators


@preaggregators.register
def clip(
    updates: Float[Tensor, "n d"],
    *,
    norm: Annotated[float, Field(gt=0)] | Literal["median"],
) -> Float[Tensor, "n d"]:
    """The rows, those longer than `norm` shortened to it: u_i · min(1, norm / ‖u_i‖₂).

    `norm` is in the unit of the updates; `median` takes the median of the rows' norms (of an even
    number, the midpoint of the middle two).

    Paper: Sun et al., 2019, arXiv:1911.07963 (number); Nguyen et al., USENIX Security 2022,
        arXiv:2101.02281 (median, as in FLAME).

    >>> clip(torch.tensor([[3.0, 4.0], [0.0, 0.5]]), norm=1.0)
    tensor([[0.6000, 0.8000], [0.0000, 0.5000]])
    """
    tiny = torch.finfo(updates.dtype).tiny
    largest = torch.linalg.vector_norm(updates, ord=torch.inf, dim=1, keepdim=True).clamp_min(tiny)
    scaled = updates / largest  # its squares neither overflow nor vanish
    lengths = torch.linalg.vector_norm(scaled, dim=1, keepdim=True)
    norms = lengths * largest
    bound = _median(norms) if norm == "median" else norm
    return torch.where(norms > bound, scaled * (bound / lengths), updates)


def _median(values: Float[Tensor, "n 1"]) -> Tensor:
    ordered = values.flatten().sort().values
    return ordered[(len(values) - 1) // 2] / 2 + ordered[len(values) // 2] / 2
