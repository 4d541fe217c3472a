"""DBA's trigger: four bars, of which every attacker stamps one and the test all."""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.strict import Count, Pair, Positive
from fedsim.triggers import triggers

Part = Annotated[int, Field(ge=0, le=3)]


@triggers.register
def dba(
    images: Float[Tensor, "b c h w"],
    *,
    size: Positive,
    gap: Count | Pair,
    shift: Count | Pair = 0,
    thickness: Positive = 1,
    part: Part | None = None,
) -> Float[Tensor, "b c h w"]:
    """The images with bar `part`, or all four, set to 1 in every channel.

    Bar p fills `thickness` rows from row shift_y + ⌊p / 2⌋ · (thickness + gap_y)
    and `size` columns from column shift_x + (p mod 2) · (size + gap_x).

    Paper: Xie et al., "DBA", ICLR 2020, OpenReview rkgyS0VFvr (no arXiv id).

    Args:
        size: columns of a bar (the paper's TS).
        gap: empty columns and rows between the bars (TG): x and y, or one number for both.
        shift: columns and rows from the upper left corner (TL): x and y, or one number for both.
        thickness: rows of a bar.
        part: 0 top left, 1 top right, 2 bottom left, 3 bottom right; None: the global trigger.

    Raises:
        ValueError: the global trigger does not lie inside the image, whichever part is stamped.

    >>> import torch
    >>> dba(torch.zeros(1, 1, 28, 28), size=4, gap=2, shift=0, part=3).nonzero()[:, 2:].tolist()
    [[3, 6], [3, 7], [3, 8], [3, 9]]
    """
    (gap_x, gap_y), (shift_x, shift_y) = _pair(gap), _pair(shift)
    if min(gap_x, gap_y, shift_x, shift_y) < 0:
        raise ValueError(f"dba: gap and shift must not be negative; got gap={gap}, shift={shift}")
    rows, columns = shift_y + 2 * thickness + gap_y, shift_x + 2 * size + gap_x
    height, width = images.shape[-2:]
    if rows > height or columns > width:
        raise ValueError(
            f"dba: needs {rows} × {columns} pixels; the images have {height} × {width} "
            f"(rows × columns)"
        )
    stamped = images.clone()
    for bar in range(4) if part is None else (part,):
        top = shift_y + bar // 2 * (thickness + gap_y)
        left = shift_x + bar % 2 * (size + gap_x)
        stamped[..., top : top + thickness, left : left + size] = 1
    return stamped


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
