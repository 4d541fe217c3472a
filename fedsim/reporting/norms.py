"""How large updates were: the norms of what benign and acting clients sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from statistics import median
from typing import TYPE_CHECKING, Any

from fedsim.reporting import style
from fedsim.reporting.labels import Group
from fedsim.reporting.scores import number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Any]


def norm_figure(groups: Sequence[Group]) -> Figure | None:
    """Norms of the updates as sent, benign and acting, by round; the first seed of each group."""
    shown = [one for one in groups if _norms(one.runs[0].clients, acting=False)]
    if not shown:
        return None
    columns = min((3, 4, 2), key=lambda n: -len(shown) % n) if len(shown) > 3 else len(shown)
    height = ceil(len(shown) / columns)
    with style.styled():
        drawing = style.sheet(height * (1.9 if columns == 1 else 1.5) + 0.5)
        panels = drawing.subplots(height, columns, sharex=True, sharey=True, squeeze=False).ravel()
        handles: dict[str, Any] = {}
        for axes, one in zip(panels, shown, strict=False):
            if len(shown) > 1:
                axes.set_title(style.shorten(one.text, 90 // columns, 2), loc="left", fontsize=7.5)
            handles |= _norm_lines(axes, one.runs[0].clients, pooled(shown))
            style.grid(axes)
        for axes in panels[len(shown) :]:
            axes.set_visible(False)
        for position, axes in enumerate(panels[: len(shown)]):
            axes.tick_params(labelbottom=position + columns >= len(shown))
            style.rounds_axis(axes, *_ends(shown), label=False, ticks=8 if columns == 1 else 5)
        _scale(panels[0], shown)
        drawing.supxlabel("round", fontsize=8)
        drawing.supylabel("L2 norm as sent", fontsize=8)
        return style.finished(drawing, handles)


def pooled(groups: Sequence[Group]) -> int:
    """How many neighbouring rounds are pooled, so that a panel keeps to a hundred points."""
    return ceil(_ends(groups)[1] / (100 if len(groups) <= 3 else 50))


def _norms(rows: Sequence[Record], acting: bool, pooled: int = 1) -> dict[float, list[float]]:
    """Round → finite norms of acting, or of never-malicious, rows; `pooled` rounds in one."""
    found: dict[float, list[float]] = {}
    for row in rows:
        norm = number(row["norm"])
        if norm is not None and (row["acting"] if acting else not row["malicious"]):
            middle = (row["round"] - 1) // pooled * pooled + (pooled + 1) / 2
            found.setdefault(middle, []).append(norm)
    return found


def _norm_lines(axes: Axes, rows: Sequence[Record], pooled: int) -> dict[str, Any]:
    handles: dict[str, Any] = {}
    looks = (
        ("benign", False, style.BENIGN, style.SOLID, "o"),
        ("acting", True, style.MALICIOUS, style.DASHED, "^"),
    )
    for text, acting, colour, line, marker in looks:
        found = _norms(rows, acting, pooled)
        rounds = sorted(found)
        if not rounds:
            continue
        middle = [median(found[r]) for r in rounds]
        low, high = [min(found[r]) for r in rounds], [max(found[r]) for r in rounds]
        few = len(rounds) <= 12
        if few:
            axes.vlines(rounds, low, high, color=colour, alpha=0.35, linewidth=3)
        else:
            axes.fill_between(rounds, low, high, color=colour, alpha=0.16, linewidth=0)
        handles[f"{text}: median, smallest to largest"] = axes.plot(
            rounds, middle, color=colour, linestyle=line, linewidth=1.2,
            marker=marker if few else "", markersize=3.5,
        )[0]  # fmt: skip
    return handles


def _scale(axes: Axes, groups: Sequence[Group]) -> None:
    """A logarithmic axis where norms differ by more than a factor of thirty."""
    norms = [
        norm
        for one in groups
        for acting in (True, False)
        for values in _norms(one.runs[0].clients, acting).values()
        for norm in values
    ]
    positive = [norm for norm in norms if norm > 0]
    if positive and max(positive) > 30 * min(positive):
        if min(norms) == 0:
            axes.set_yscale("symlog", linthresh=min(positive))
        else:
            axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda _, __: "")
    else:
        axes.set_ylim(bottom=0)


def _ends(groups: Sequence[Group]) -> tuple[int, int]:
    rounds = [row["round"] for one in groups for row in one.runs[0].clients]
    return min(rounds), max(rounds)
