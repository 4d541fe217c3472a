"""Where the updates of one round stood: their first two principal components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.reporting import style
from fedsim.results import shapes
from fedsim.results.files import read_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = Mapping[str, Any]

MARKS = {"benign": "o", "acting": "^", "dormant": "s"}
"""A role is told by shape as well as by colour."""

LEAST, MOST = 16.0, 110.0
"""Square points: the area of a mark with no weight, and with twice an even share of it."""


def read_updates(folder: Path) -> Picture | None:
    """The object of updates.json in a run folder; None where there is no such file.

    Raises: InputError if the file is damaged.
    """
    path = folder / "updates.json"
    if not path.is_file():
        return None
    picture = read_json(path)
    shapes.check(shapes.Updates, picture, path)
    return picture


def updates_figure(pictures: Mapping[str, Picture]) -> Figure | None:
    """For each name the updates of its round as points; None where no picture has any."""
    shown = {name: one for name, one in pictures.items() if one["clients"]}
    if not shown:
        return None
    columns = min(len(shown), 2 if len(shown) in (2, 4) else 3)
    height = ceil(len(shown) / columns)
    with style.styled():
        tall = 3.4 if columns == 1 else 2.5 if columns == 2 else 2.1
        drawing = style.sheet(tall * height + 0.4, 5.2 if columns == 1 else style.WIDTH)
        panels = drawing.subplots(height, columns, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for axes, (name, one) in zip(panels, shown.items(), strict=False):
            if len(shown) > 1:
                axes.set_title(style.shorten(name, 88 // columns, 3), loc="left", fontsize=7.5)
            handles |= _panel(axes, one)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        return style.finished(drawing, handles)


def _panel(axes: Axes, one: Picture) -> dict[str, Any]:
    axes.axhline(0, color=style.GRID, linewidth=0.5, zorder=0)
    axes.axvline(0, color=style.GRID, linewidth=0.5, zorder=0)
    handles: dict[str, Any] = {}
    for text in MARKS:  # acting ones after the benign, which are more
        rows = [row for row in one["clients"] if style.role(row) == text]
        if rows:
            handles |= _points(axes, text, rows, one["clients"])
    handles |= _landmarks(axes, one)
    for axis, share in zip((axes.xaxis, axes.yaxis), one["explained"], strict=True):
        which = "first" if axis is axes.xaxis else "second"
        axis.set_label_text(f"{which} component ({100 * share:.0f} %)")
    axes.locator_params(nbins=5)
    axes.margins(0.08)
    return handles


def _points(
    axes: Axes, role: str, rows: Sequence[Picture], every: Sequence[Picture]
) -> dict[str, Any]:
    from matplotlib.lines import Line2D

    colour = style.ROLES[role]
    axes.scatter(
        [row["at"][0] for row in rows], [row["at"][1] for row in rows], marker=MARKS[role],
        s=[_area(row, every) for row in rows], linewidths=0.9, zorder=3,
        facecolors=["white" if row["weight"] == 0 else f"{colour}99" for row in rows],
        edgecolors=colour,
    )  # fmt: skip
    handles: dict[str, Any] = {
        role: Line2D([], [], color=colour, marker=MARKS[role], linestyle="", markersize=5)
    }
    if any(row["weight"] == 0 for row in rows):
        handles["hollow: weight 0"] = Line2D(
            [], [], color=style.INK, marker="o", markerfacecolor="white", linestyle="", markersize=5
        )
    return handles


def _area(row: Picture, every: Sequence[Picture]) -> float:
    """The larger, the more weight against an even share; all alike where the rule gave none."""
    total = sum(other["weight"] or 0.0 for other in every)
    if row["weight"] is None or total == 0:
        return 36.0
    share = float(row["weight"]) * len(every) / total
    return LEAST + (MOST - LEAST) * min(share / 2, 1.0)


def _landmarks(axes: Axes, one: Picture) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    (handles["the model as it was (no update)"],) = axes.plot(
        *one["zero"], marker="+", color=style.INK, markersize=9, linestyle="", zorder=4
    )
    if one["aggregate"] is not None:
        (handles["what the server made of them"],) = axes.plot(
            *one["aggregate"], marker="X", color=style.INK, markersize=6, linestyle="",
            markeredgecolor="white", markeredgewidth=0.6, zorder=5,
        )  # fmt: skip
    return handles
