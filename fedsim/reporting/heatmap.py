"""The heat map: what each attack did to each rule, the darker the worse, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fedsim.reporting import style
from fedsim.reporting.crossing import MEASURES, Crossing
from fedsim.results.stats import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NARROW, BROAD = 0.56, 1.15
"""Inches: the least and the most that a cell is wide."""

TALL = 0.38
"""Inches: the height of a cell, which holds two lines."""

LETTER = 0.062
"""Inches: the width of a letter."""

LIGHT, DARK = 0.0, 0.85
"""The part of the map that is used; its end is too black to be told from the frame."""


def heatmap(crossing: Crossing) -> Figure:
    """Rules down, attacks across; a number with half its interval in each cell, empty if not run.

    The colours are perceptually uniform and darken steadily, so that grey print and colour-blind
    readers see the same order.
    """
    rules = [style.shorten(text, 28, 2) for text in crossing.rules]
    beside = LETTER * max(len(line) for text in rules for line in text.split("\n")) + 0.2
    room = (style.WIDTH - beside - 0.75) / len(crossing.attacks)
    wide = min(max(room, NARROW), BROAD)
    titles = [_title(crossing, j, wide) for j in range(len(crossing.attacks))]
    above = 0.14 * max(text.count("\n") + 1 for text in titles)
    width = max(beside + wide * len(titles) + 0.75, 3.6)
    note = style.shorten(crossing.note(), int(width / 0.06), 4)
    below = 0.13 * (note.count("\n") + 1) + 0.1
    height = max(TALL * len(rules), 1.0)
    with style.styled():
        drawing = style.sheet(above + height + below + 0.1, width)
        axes = drawing.subplots()
        mesh = _mesh(axes, crossing)
        for i in range(len(rules)):
            for j in range(len(titles)):
                _cell(axes, crossing, i, j)
        _labels(axes, rules, titles)
        _scale(drawing, axes, mesh, crossing)
        drawing.supxlabel(note, fontsize=6.5, color=style.FAINT, x=0.01, ha="left")
        return style.finished(drawing)


def harm(crossing: Crossing, row: int, column: int) -> float | None:
    """How bad the cell is, in [0, 1]: attack success, accuracy lost, or accuracy missing."""
    score = crossing.score(row, column)
    if score is None:
        return None
    worse = 1 - score.mean if crossing.shown[column] == "accuracy" else score.mean
    return min(max(worse, 0.0), 1.0)


def colour_of(share: float) -> tuple[float, float, float]:
    """The colour of so much harm, from [0, 1]."""
    red, green, blue, _ = _map()(share)
    return red, green, blue


def contrast(first: Sequence[float], second: Sequence[float]) -> float:
    """The contrast of two colours as the W3C measures it, from 1 to 21."""
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def ink_on(paper: Sequence[float]) -> str:
    """Black or white, whichever reads better on `paper`."""
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(_rgb(ink), paper))


def _rgb(colour: str) -> tuple[float, ...]:
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))


def _luminance(colour: Sequence[float]) -> float:
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def _map() -> Any:
    import numpy as np
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["magma_r"](np.linspace(LIGHT, DARK, 256)), "harm")


def _title(crossing: Crossing, column: int, wide: float) -> str:
    """The attack, and what its cells show where columns show different things."""
    name = style.shorten(crossing.attacks[column], max(7, int(wide / LETTER) + 1), 5)
    if len(set(crossing.shown)) == 1:
        return name
    return f"{name}\n{MEASURES[crossing.shown[column]].partition(' (')[0]}"


def _mesh(axes: Axes, crossing: Crossing) -> Any:
    import numpy as np

    shares = [
        [harm(crossing, i, j) for j in range(len(crossing.attacks))]
        for i in range(len(crossing.rules))
    ]
    known = np.ma.masked_invalid(np.array(shares, dtype=float))
    mesh = axes.pcolormesh(known, cmap=_map(), vmin=0, vmax=1, edgecolors="white", linewidth=1.2)
    axes.set_ylim(len(crossing.rules), 0)
    return mesh


def _cell(axes: Axes, crossing: Crossing, row: int, column: int) -> None:
    from matplotlib.patches import Rectangle

    middle, share = (column + 0.5, row + 0.5), harm(crossing, row, column)
    score = crossing.score(row, column)
    if score is None or share is None:
        if (row, column) not in crossing.cells:
            axes.add_patch(
                Rectangle((column, row), 1, 1, fill=False, hatch="////", linewidth=0,
                          edgecolor=style.GRID)
            )  # fmt: skip
            return
        axes.text(*middle, "–", ha="center", va="center", color=style.FAINT)
        return
    ink = ink_on(colour_of(share))
    told = _spread(score, crossing, row, column)
    axes.annotate(
        f"{100 * score.mean:.1f}".replace("-", "−"), middle, (0, 3.6 if told else 0),
        textcoords="offset points", ha="center", va="center", fontsize=8, color=ink,
    )  # fmt: skip
    if told:
        axes.annotate(
            told, middle, (0, -5.4), textcoords="offset points",
            ha="center", va="center", fontsize=6.5, color=ink,
        )  # fmt: skip


def _spread(score: Interval, crossing: Crossing, row: int, column: int) -> str:
    """The second line of a cell: half its interval, and its seeds where they are not all alike."""
    told = "" if score.half is None else f"± {100 * score.half:.1f}"
    if len(crossing.seeds) > 1:
        told += f" ({crossing.cells[row, column].seeds})"
    return told.strip()


def _labels(axes: Axes, rules: Sequence[str], titles: Sequence[str]) -> None:
    axes.set_xticks([j + 0.5 for j in range(len(titles))], titles, fontsize=7)
    axes.set_yticks([i + 0.5 for i in range(len(rules))], rules)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _scale(drawing: Figure, axes: Axes, mesh: Any, crossing: Crossing) -> None:
    """The colour bar, named after what the cells show."""
    shown = set(crossing.shown)
    bar = drawing.colorbar(mesh, ax=axes, ticks=[0, 0.5, 1], aspect=18, pad=0.02)
    for solids in filter(None, [bar.solids]):
        solids.set_rasterized(True)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    if shown == {"accuracy"}:
        bar.ax.set_yticklabels(["100", "50", "0"])
        bar.set_label("accuracy (%)")
    else:
        bar.ax.set_yticklabels(["0", "50", "100"])
        bar.set_label(MEASURES[shown.pop()] if len(shown) == 1 else "harm (%)")
