"""DBA: the trigger is divided among the attackers; only the test shows it whole."""

from collections.abc import Callable
from inspect import signature
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsim.poisons import poisons
from fedsim.registry import OneOf
from fedsim.strict import Count, Positive
from fedsim.types import PoisonView, Probe

PARTS = 4
Trigger = Callable[..., Tensor]


def _probe(
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    trigger: Trigger,
    target: int,
    per_batch: int,
) -> Probe:
    """The test images of all classes but `target`, stamped with the global trigger."""
    _check(view.num_classes, trigger, target)
    rows = labels != target
    stamped = trigger(images[rows], part=None)
    return Probe(stamped, torch.full_like(labels[rows], target), labels[rows])


@poisons.declare(when="batch", probe=_probe, min_attackers=PARTS)
def distributed_backdoor(
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    trigger: Annotated[Trigger, OneOf("triggers")],
    target: Count,
    per_batch: Positive,
) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
    """The batch with its first `per_batch` images stamped with this attacker's part of `trigger`.

    (x, y) → (trigger(x, part = k mod 4), target) for attacker k, whatever y is.

    Paper: Xie et al., "DBA", ICLR 2020, OpenReview rkgyS0VFvr (no arXiv id).

    Args:
        trigger: one that takes `part` (0 to 3, None for the global trigger), such as `dba`.
        target: the label of stamped images.
        per_batch: the paper's r; a batch with fewer images is stamped throughout.

    Raises:
        ValueError: `trigger` takes no `part`, or `target` is no class.

    >>> x, y, view = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 0]), PoisonView(num_classes=3)
    >>> distributed_backdoor(x, y, view, trigger=lambda x, part: x, target=2, per_batch=2)[1]
    tensor([2, 2, 0])
    """
    _check(view.num_classes, trigger, target)
    stamped = trigger(images[:per_batch], part=view.attacker % PARTS)
    relabelled = torch.full_like(labels[:per_batch], target)
    return torch.cat([stamped, images[per_batch:]]), torch.cat([relabelled, labels[per_batch:]])


def _check(num_classes: int, trigger: Trigger, target: int) -> None:
    if "part" not in signature(trigger).parameters:
        name = getattr(getattr(trigger, "func", trigger), "__name__", "trigger")
        raise ValueError(f"distributed_backdoor: trigger must take part, as dba does; got '{name}'")
    if not 0 <= target < num_classes:
        raise ValueError(
            f"distributed_backdoor: target must be in 0..{num_classes - 1}; got {target}"
        )
