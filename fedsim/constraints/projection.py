"""Projected gradient descent: malicious training that never leaves a ball around the model."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.constraints import constraints
from fedsim.strict import Positive


@constraints.register
def projection(
    update: Float[Tensor, " d"],
    step: int,
    is_last: bool,
    *,
    norm: Literal["l2", "linf"],
    radius: Annotated[float, Field(gt=0)],
    every: Positive = 1,
) -> Float[Tensor, " d"]:
    """The point of the ball of `radius` nearest to `update`, at every `every`-th and the last step.

    l2: Δ · min(1, radius / ‖Δ‖₂); linf: each coordinate clamped to [−radius, radius].

    Paper: Sun et al., 2019, arXiv:1911.07963; Wang et al., NeurIPS 2020, arXiv:2007.05084.
    Differs: both papers project on the L2 ball; Sun et al. after each of five passes over the
    data, which is `every` = the steps of a pass.

    Args:
        norm: which ball.
        radius: its size > 0, same unit as updates (Sun et al.: the server's bound over the boost).
        every: project when the step, counted from 1, is a multiple of it.

    >>> projection(torch.tensor([3.0, 4.0]), 1, False, norm="l2", radius=1.0)
    tensor([0.6000, 0.8000])
    """
    if step % every and not is_last:
        return update
    if norm == "linf":
        return update.clamp(-radius, radius)
    # Squares of float32 overflow from 1e19 on; double precision carries them. ‖0‖: radius / 0 = ∞.
    length: Tensor = torch.linalg.vector_norm(update, dtype=torch.float64)
    scale: Tensor = (radius / length).clamp(max=1)
    return update * scale
