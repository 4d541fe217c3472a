"""The laws of triggers."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from fedsim.library import Named, choose
from fedsim.testing.laws import BrokenError, Violation, alike, same, same_bits, violations
from fedsim.triggers import triggers

Stamp = Callable[[Tensor], Tensor]


def check_trigger(trigger: Named, **parameters: Any) -> list[Violation]:
    """The laws of triggers that `trigger` breaks; an empty list is good.

    shapes: (b, c, h, w) and dtype as given, empty batches too. range: pixels stay in [0, 1].
    in_place: the images are not written into. determinism: the same images give the same bits.
    alone: an image is stamped as it would be without the others. It is tried on 28 × 28 grey and
    32 × 32 colour images; one that refuses either with a ValueError is tried on the other.

    Raises: ValueError if there is no such trigger, or it does not take the parameters.

    >>> check_trigger("patch")
    []
    """
    stamp = choose(triggers, trigger, parameters).build()
    draws = torch.Generator().manual_seed(11)
    kinds = [torch.rand(5, c, size, size, generator=draws) for c, size in ((1, 28), (3, 32))]
    images = [batch for batch in kinds if _accepts(stamp, batch)]
    if not images:
        return [Violation("shapes", "stamps neither grey 28 × 28 nor colour 32 × 32 images")]
    laws = {
        "shapes": _shapes,
        "range": _range,
        "in_place": _in_place,
        "determinism": _determinism,
        "alone": _alone,
    }
    return violations({law: partial(check, stamp, images) for law, check in laws.items()})


def _shapes(stamp: Stamp, images: list[Tensor]) -> None:
    for batch in [*images, *(batch[:0] for batch in images)]:
        stamped = stamp(batch.clone())
        if not isinstance(stamped, Tensor) or stamped.shape != batch.shape:
            raise BrokenError(f"must return images {tuple(batch.shape)}")
        if stamped.dtype != batch.dtype:
            raise BrokenError(f"returns {stamped.dtype} for images of {batch.dtype}")


def _range(stamp: Stamp, images: list[Tensor]) -> None:
    for batch in [*images, *(batch.round() for batch in images)]:
        stamped = stamp(batch.clone())
        if not ((stamped >= 0) & (stamped <= 1)).all():
            low, high = float(stamped.min()), float(stamped.max())
            raise BrokenError(f"makes pixels from {low:g} to {high:g}")


def _in_place(stamp: Stamp, images: list[Tensor]) -> None:
    before = [batch.clone() for batch in images]
    given = [batch.clone() for batch in images]
    for batch in given:
        stamp(batch)
    same(before, given)


def _determinism(stamp: Stamp, images: list[Tensor]) -> None:
    same_bits(lambda: torch.cat([stamp(batch.clone()).flatten() for batch in images]))


def _alone(stamp: Stamp, images: list[Tensor]) -> None:
    for batch in images:
        singly = torch.cat([stamp(image[None].clone()) for image in batch])
        if not alike(singly, stamp(batch.clone())):
            raise BrokenError("an image is stamped otherwise where it is alone")


def _accepts(stamp: Stamp, batch: Tensor) -> bool:
    try:
        stamp(batch.clone())
    except ValueError:
        return False
    except Exception:  # told under the laws
        return True
    return True
