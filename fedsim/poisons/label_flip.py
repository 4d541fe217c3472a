"""Label flipping: true images, false labels."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsim.poisons import poisons
from fedsim.strict import Count, Share
from fedsim.types import PoisonView, Probe

Mode = Literal["pair", "all_to_one", "reversed", "random", "replicate"]

NEEDS: dict[Mode, tuple[str, ...]] = {
    "pair": ("source", "target"),
    "all_to_one": ("target",),
    "reversed": (),
    "random": (),
    "replicate": ("source", "target"),
}


def _probe(
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    mode: Mode,
    source: int | None = None,
    target: int | None = None,
    fraction: float = 1.0,
) -> Probe | None:
    """The test images that the mode gives a false label; None for random, which has no goal."""
    _check(labels, view.num_classes, mode, source, target)
    if mode == "random":
        return None
    goal = _goal(labels, view, target)
    rows = labels != goal if source is None else labels == source
    return Probe(images[rows], goal[rows], None)


@poisons.declare(when="once", probe=_probe)
def label_flip(
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    mode: Mode,
    source: Count | None = None,
    target: Count | None = None,
    fraction: Share = 1.0,
) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
    """The client's images with some labels false; only `replicate` changes images too.

    pair: source → target; all_to_one: y → target; reversed: y → K − 1 − y; random: y → another
    class, each as likely; replicate: images of `source`, repeated in turn, fill the client's set
    and are called `target` (a client that has none is left as it is).

    Paper: Tolpegin et al., ESORICS 2020, arXiv:2007.08432 (pair); Shen et al., "AUROR", ACSAC
    2016, doi:10.1145/2991079.2991125 (replicate); Fang et al., USENIX Security 2020,
    arXiv:1911.11815 (reversed); the others folklore.

    Args:
        source: the class to flip, for pair and replicate.
        target: the class it is called, for pair, replicate and all_to_one.
        fraction: share of the images whose label the mode changes, ⌊fraction · count⌋ of them
            drawn at random; for replicate the share of the client's set that is filled.

    Raises:
        ValueError: `source` or `target` is missing, not wanted by the mode, or no class.

    >>> x, y, view = torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 2, 1]), PoisonView(num_classes=3)
    >>> label_flip(x, y, view, mode="pair", source=1, target=0)[1]
    tensor([0, 0, 2, 0])
    """
    _check(labels, view.num_classes, mode, source, target)
    goal = _random_goal(labels, view) if mode == "random" else _goal(labels, view, target)
    rows = labels != goal if source is None else labels == source
    if mode != "replicate":
        chosen = _draw(rows, fraction, view.generator)
        return images, labels.index_copy(0, chosen, goal[chosen])
    originals = rows.nonzero().flatten()
    slots = _draw(rows.any().expand_as(rows), fraction, view.generator)
    copies = originals.repeat(-(-len(slots) // max(1, len(originals))))[: len(slots)]
    return images.index_copy(0, slots, images[copies]), labels.index_copy(0, slots, goal[slots])


def _goal(labels: Int[Tensor, " b"], view: PoisonView, target: int | None) -> Int[Tensor, " b"]:
    return view.num_classes - 1 - labels if target is None else torch.full_like(labels, target)


def _random_goal(labels: Int[Tensor, " b"], view: PoisonView) -> Int[Tensor, " b"]:
    moves = torch.randint(1, view.num_classes, labels.shape, generator=view.generator)
    return (labels + moves.to(labels.device)) % view.num_classes


def _draw(rows: Tensor, fraction: float, generator: torch.Generator) -> Tensor:
    candidates = rows.nonzero().flatten()
    count = math.floor(fraction * len(candidates) + 1e-9)
    picked = torch.randperm(len(candidates), generator=generator)[:count].sort().values
    return candidates[picked.to(rows.device)]


def _check(
    labels: Tensor, num_classes: int, mode: Mode, source: int | None, target: int | None
) -> None:
    for name, label in (("source", source), ("target", target)):
        if (name in NEEDS[mode]) != (label is not None):
            verb = "needs" if name in NEEDS[mode] else "takes no"
            raise ValueError(f"label_flip: mode {mode} {verb} {name}; got {name}={label}")
        if label is not None and not 0 <= label < num_classes:
            raise ValueError(f"label_flip: {name} must be in 0..{num_classes - 1}; got {label}")
    if source is not None and source == target:
        raise ValueError(f"label_flip: source and target must differ; got {source} for both")
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        got = int(outside[0])
        raise ValueError(f"label_flip: labels must be in 0..{num_classes - 1}; got {got}")
