"""A backdoor: stamped images carry the adversary's label."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsim.poisons import When, poisons
from fedsim.registry import OneOf
from fedsim.strict import Count, Positive, Share
from fedsim.types import PoisonView, Probe

Trigger = Callable[[Tensor], Tensor]
Mode = Literal["to_one", "all_to_all"]


def _when(parameters: Mapping[str, Any]) -> When:
    return "once" if parameters.get("per_batch") is None else "batch"


def _probe(  # noqa: PLR0913 (the parameters of the poison)
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    trigger: Trigger,
    target: int | None = None,
    source: int | None = None,
    mode: Mode = "to_one",
    fraction: float | None = None,
    per_batch: int | None = None,
) -> Probe:
    """Stamped test images of `source`, else of all classes but `target`; all for all_to_all."""
    _check(view.num_classes, mode, target, source, fraction, per_batch)
    goal = _goal(labels, view.num_classes, target)
    rows = labels != goal if source is None else labels == source
    return Probe(trigger(images[rows]), goal[rows], labels[rows])


@poisons.declare(when=_when, probe=_probe)
def backdoor(  # noqa: PLR0913 (fraction and per_batch are alternatives)
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    trigger: Annotated[Trigger, OneOf("triggers")],
    target: Count | None = None,
    source: Count | None = None,
    mode: Mode = "to_one",
    fraction: Share | None = None,
    per_batch: Positive | None = None,
) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
    """The images with some of them stamped with `trigger` and relabelled.

    (x, y) → (trigger(x), target), or (trigger(x), (y + 1) mod K) for all_to_all.

    Paper: Gu et al., "BadNets", 2017, arXiv:1708.06733 (`fraction`); Bagdasaryan et al., AISTATS
    2020, arXiv:1807.00459 (`per_batch`).
    Differs: BadNets adds stamped copies to the set; here they replace their originals.

    Args:
        target: the label of stamped images in mode to_one; absent in mode all_to_all.
        source: stamp only images of this class (mode to_one).
        fraction: stamp ⌊fraction · count⌋ of the client's (`source`) images, drawn once.
        per_batch: stamp the first of the (`source`) images of each shuffled batch. Exactly one of
            `fraction` and `per_batch` is given.

    Raises:
        ValueError: the parameters contradict one another or name a class that does not exist.

    >>> x, y, view = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 0]), PoisonView(num_classes=3)
    >>> backdoor(x, y, view, trigger=torch.ones_like, target=2, per_batch=2)[1]
    tensor([2, 2, 0])
    """
    _check(view.num_classes, mode, target, source, fraction, per_batch)
    rows = torch.ones_like(labels, dtype=torch.bool) if source is None else labels == source
    if per_batch is not None:
        rows = rows & (rows.cumsum(0) <= per_batch)
    elif fraction is not None:
        rows = _draw(rows, fraction, view.generator)
    poisoned = torch.where(rows[:, None, None, None], trigger(images), images)
    return poisoned, torch.where(rows, _goal(labels, view.num_classes, target), labels)


def _goal(labels: Int[Tensor, " b"], num_classes: int, target: int | None) -> Int[Tensor, " b"]:
    if target is None:
        return (labels + 1) % num_classes
    return torch.full_like(labels, target)


def _draw(rows: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    candidates = rows.nonzero().flatten()
    count = math.floor(fraction * len(candidates) + 1e-9)
    picked = torch.randperm(len(candidates), generator=generator)[:count]
    return torch.zeros_like(rows).index_fill_(0, candidates[picked.to(rows.device)], True)


def _check(
    num_classes: int,
    mode: Mode,
    target: int | None,
    source: int | None,
    fraction: float | None,
    per_batch: int | None,
) -> None:
    got = f"got target={target}, source={source}"
    if mode == "to_one" and target is None:
        raise ValueError(f"backdoor: mode to_one needs target; {got}")
    if mode == "all_to_all" and (target is not None or source is not None):
        raise ValueError(f"backdoor: mode all_to_all takes neither target nor source; {got}")
    for name, label in (("target", target), ("source", source)):
        if label is not None and not 0 <= label < num_classes:
            raise ValueError(f"backdoor: {name} must be in 0..{num_classes - 1}; got {label}")
    if source is not None and source == target:
        raise ValueError(f"backdoor: source and target must differ; {got}")
    if (fraction is None) == (per_batch is None):
        got = f"got fraction={fraction}, per_batch={per_batch}"
        raise ValueError(f"backdoor: needs exactly one of fraction and per_batch; {got}")
