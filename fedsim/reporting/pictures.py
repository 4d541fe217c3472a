"""The trigger on real images: clean, stamped, and what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.reporting import style
from fedsim.results import read_model

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Pixels = NDArray[np.float64]

SHOWN = 8
"""Images in a row."""

GAP = 0.8
"""The grey between images."""

FAINT_CHANGE = 0.5
"""A largest change below this is shown amplified."""


def trigger_figure(examples: Mapping[str, Any]) -> Figure | None:
    """Rows of images: clean, stamped, their difference, then each part of the trigger.

    `examples` holds `clean`, `stamped` and, for a trigger in parts, `part0` …, each (k, c, h, w)
    with pixels in [0, 1]; None where there are none.
    """
    rows = picture_rows(examples)
    if not rows:
        return None
    count = min(SHOWN, *(len(images) for images in rows.values()))
    sheet = _montage([images[:count] for images in rows.values()])
    height, width = sheet.shape[:2]
    inches = min(style.WIDTH - 1.4, 0.8 * count)
    with style.styled():
        drawing = style.sheet(inches * height / width + 0.1, inches + 1.4)
        axes = drawing.subplots()
        axes.imshow(sheet, interpolation="none")
        axes.set_xticks([])
        axes.set_yticks(
            [(i + 0.5) * height / len(rows) for i in range(len(rows))], list(rows), fontsize=8
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        return style.finished(drawing)


def _montage(rows: Sequence[Pixels]) -> Pixels:
    """All images (k, h, w, 3) in one picture, grey lines between them."""
    import numpy as np

    gap = max(1, rows[0].shape[2] // 14)
    framed = [
        np.pad(images, ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=GAP)
        for images in rows
    ]
    return np.concatenate([np.concatenate(list(images), axis=1) for images in framed])


def picture_rows(examples: Mapping[str, Any]) -> dict[str, Pixels]:
    """The rows of the trigger figure as (k, h, w, 3); a difference is dark where pixels change."""
    if "clean" not in examples or "stamped" not in examples or not len(examples["clean"]):
        return {}
    clean, stamped = _pixels(examples["clean"]), _pixels(examples["stamped"])
    change = abs(stamped - clean).mean(axis=1, keepdims=True)
    largest = float(change.max())
    factor = 1 if largest >= FAINT_CHANGE or largest == 0 else int(1 / largest + 1e-6)
    title = "difference" if factor == 1 else f"difference × {factor}"
    rows = {"clean": clean, "stamped": stamped, title: 1 - (factor * change).clip(0, 1)}
    for name in sorted(key for key in examples if key.startswith("part")):
        rows[f"part {name.removeprefix('part')}"] = _pixels(examples[name])
    return {text: _coloured(images) for text, images in rows.items()}


def read_examples(folder: Path) -> dict[str, Any]:
    """The tensors of `examples.safetensors` in a run folder; empty where there is no such file."""
    path = folder / "examples.safetensors"
    return dict(read_model(path)) if path.is_file() else {}


def _pixels(images: Any) -> Pixels:
    import numpy as np

    return np.asarray(images, dtype=np.float64).clip(0, 1)


def _coloured(images: Pixels) -> Pixels:
    """(k, c, h, w) as (k, h, w, 3)."""
    last = images.transpose(0, 2, 3, 1)
    return last[..., :3] if last.shape[-1] >= 3 else last[..., :1].repeat(3, axis=-1)
