"""Pictures of an attack: a trigger on test images, or what an attacker trains on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.errors import InputError
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


def gallery_figure(examples: Mapping[str, Any]) -> Figure | None:
    """Rows of images, each (k, c, h, w) with pixels in [0, 1]; None where there are none.

    Of a trigger, `clean` and `stamped`, their difference, each part of it (`part0` …), or the
    images `first` stamped and the `pattern` of one that has learned; of images that an attacker
    trains on, `trained` with their `trained_labels`, those `alike`, and those `measured`.
    """
    rows = picture_rows(examples)
    return _sheet_of(rows) if rows else None


def montage_figure(rows: Mapping[str, Any]) -> Figure:
    """Rows of images, each (k, c, h, w) with pixels in [0, 1], under the names of the rows."""
    return _sheet_of({text: _coloured(_array(images)) for text, images in rows.items()})


def _sheet_of(rows: Mapping[str, Pixels]) -> Figure:
    count = min(SHOWN, max(len(images) for images in rows.values()))
    sheet = _montage([images[:count] for images in rows.values()], count)
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


def _montage(rows: Sequence[Pixels], count: int) -> Pixels:
    """All images (k, h, w, 3) in one picture, grey lines between them; white where a row ends."""
    import numpy as np

    gap = max(1, rows[0].shape[2] // 14)
    framed = [
        np.pad(images, ((0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=GAP)
        for images in rows
    ]
    lines = [np.concatenate(list(images), axis=1) for images in framed]
    width = count * framed[0].shape[2]
    return np.concatenate(
        [
            np.pad(line, ((0, 0), (0, width - line.shape[1]), (0, 0)), constant_values=1.0)
            for line in lines
        ]
    )


def picture_rows(examples: Mapping[str, Any]) -> dict[str, Pixels]:
    """The rows of the figure as (k, h, w, 3); a difference is dark where pixels change."""
    seen = {name: _array(images) for name, images in examples.items() if len(images)}
    rows = _trigger_rows(seen) if {"clean", "stamped"} <= set(seen) else _training_rows(seen)
    return {text: _coloured(images) for text, images in rows.items()}


def _trigger_rows(seen: Mapping[str, Pixels]) -> dict[str, Pixels]:
    rows = {"clean": seen["clean"]}
    if "first" in seen:
        rows["stamped at first"] = seen["first"]
    rows |= {"stamped": seen["stamped"], **_difference(seen["clean"], seen["stamped"])}
    for name in sorted(key for key in seen if key.startswith("part")):
        rows[f"part {name.removeprefix('part')}"] = seen[name]
    if "pattern" in seen:
        rows["on black"] = seen["pattern"]
    return rows


def _training_rows(seen: Mapping[str, Pixels]) -> dict[str, Pixels]:
    rows = {}
    if "trained" in seen:
        labels = {int(label) for label in seen.get("trained_labels", ())}
        rows[f"trained as {labels.pop()}" if len(labels) == 1 else "trained on"] = seen["trained"]
    if "trained" in seen and "alike" in seen:
        rows |= {"most alike": seen["alike"], **_difference(seen["alike"], seen["trained"])}
    if "measured" in seen:
        rows["measured on"] = seen["measured"]
    return rows


def _difference(before: Pixels, after: Pixels) -> dict[str, Pixels]:
    change = abs(after - before).mean(axis=1, keepdims=True)
    largest = float(change.max())
    factor = 1 if largest >= FAINT_CHANGE or largest == 0 else int(1 / largest + 1e-6)
    title = "difference" if factor == 1 else f"difference × {factor}"
    return {title: 1 - (factor * change).clip(0, 1)}


def heading(examples: Mapping[str, Any]) -> str:
    """What the figure is of."""
    return "The trigger" if "stamped" in examples else "What the attackers train on"


def caption(examples: Mapping[str, Any]) -> str:
    """What is to be seen on the figure."""
    if "stamped" in examples:
        told = ["Test images: clean, stamped with the trigger, and where they differ (dark)."]
        if "part0" in examples:
            told.append("Below: the parts, each stamped by its own attackers.")
        if "pattern" in examples:
            told.append(
                "Stamped as the trigger was learned last, at first as it was before it learned."
            )
        return " ".join(told)
    told = []
    if "trained" in examples:
        told.append("Images that an attacker trains on, under the label that it gives them.")
    if "alike" in examples:
        told.append(
            "Made anew in every round; shown are the latest. Below: the attacker's own images most "
            "like them, and where they differ (dark)."
        )
    if "measured" in examples:
        told.append("Measured on: images on which attack success is measured.")
    return " ".join(told)


def read_examples(folder: Path) -> dict[str, Any]:
    """The tensors of `examples.safetensors` in a run folder; empty where there is no such file.

    Raises: InputError if the file is damaged.
    """
    path = folder / "examples.safetensors"
    if not path.is_file():
        return {}
    examples = dict(read_model(path))
    if not _belong_together(examples):
        raise InputError(f"{path}: holds no pictures that belong together; the file is damaged.")
    return examples


def _belong_together(examples: Mapping[str, Any]) -> bool:
    """Whether all are images of one shape, and those that are compared are as many."""
    images = [one for name, one in examples.items() if name != "trained_labels"]
    pairs = [("clean", "stamped"), ("trained", "alike"), ("trained", "trained_labels")]
    return (
        all(one.ndim == 4 and one.is_floating_point() and one.isfinite().all() for one in images)
        and len({one.shape[1:] for one in images if 0 not in one.shape[1:]}) == len(images[:1])
        and all(one.ndim == 1 for one in examples.values() if one.ndim != 4)
        and all(
            len(examples[first]) == len(examples[second])
            for first, second in pairs
            if {first, second} <= examples.keys()
        )
    )


def _array(values: Any) -> Pixels:
    import numpy as np

    return np.asarray(values, dtype=np.float64)


def _coloured(images: Pixels) -> Pixels:
    """(k, c, h, w) as (k, h, w, 3), pixels cut to [0, 1]."""
    last = images.clip(0, 1).transpose(0, 2, 3, 1)
    return last[..., :3] if last.shape[-1] >= 3 else last[..., :1].repeat(3, axis=-1)
