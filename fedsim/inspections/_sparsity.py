"""Masks between 0 and 1, and the weight of their size that follows their success."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_HIGHEST = 1e9  # what succeeds with nothing on it would raise its weight for ever
_INSIDE = 1 - 1e-6  # no mask begins where its slope has vanished


def bounded(raw: Tensor) -> Tensor:
    """Numbers in (0, 1) that move freely when `raw` does: tanh / 2 + 0.5."""
    return raw.tanh() / 2 + 0.5


def unbounded(values: Tensor) -> Tensor:
    """The raw numbers that are bounded to `values` in [0, 1), open to gradients."""
    return torch.atanh((2 * values - 1) * _INSIDE).requires_grad_()


def adapt(
    weights: Float[Tensor, " k"],
    streaks: Float[Tensor, " k"],
    reached: Bool[Tensor, " k"],
    cost: float,
    multiplier: float,
    patience: int,
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """The next weight λ of each mask's size, and for how many steps it has succeeded in a row.

    `patience` successes make a λ of 0 `cost` and multiply another by `multiplier`; as many failures
    (a streak below 0) divide it by `multiplier`^1.5.
    """
    streaks = torch.where(reached, streaks.clamp(min=0) + 1, streaks.clamp(max=0) - 1)
    raised = torch.where(weights == 0, cost, weights * multiplier).clamp(max=_HIGHEST)
    weights = torch.where(streaks == patience, raised, weights)
    weights = torch.where(streaks == -patience, weights / multiplier**1.5, weights)
    return weights, torch.where(streaks.abs() == patience, 0, streaks)
