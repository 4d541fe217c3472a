"""The damage of every attack under a rule, beside what it does under the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedsim.evaluation.words import attack_text
from fedsim.reporting.style import FAINT, GRID, MALICIOUS, sheet, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OTHERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def damage_figure(card: Mapping[str, Any]) -> Figure:
    """A line for each attack: the rule's damage with its interval, the others' as small marks."""
    rows = card["attacks"]
    with styled():
        figure = sheet(0.9 + 0.3 * len(rows))
        axes = figure.subplots()
        for k, other in enumerate(card["references"]):
            _marks(axes, other, OTHERS[k % len(OTHERS)])
        _own(axes, card["rule"]["label"], rows)
        axes.set_yticks(range(len(rows)), [attack_text(row) for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("damage: attack success won or accuracy lost, in percentage points")
        axes.grid(color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.3)
    return figure


def _marks(axes: Axes, other: Mapping[str, Any], marker: str) -> None:
    damages = [100 * one["damage"]["mean"] for one in other["attacks"]]
    axes.plot(
        *(damages, range(len(damages))),
        linestyle="none",
        marker=marker,
        markersize=4.5,
        markerfacecolor="none",
        markeredgecolor=FAINT,
        markeredgewidth=0.8,
        label=other["label"],
    )


def _own(axes: Axes, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
    means = [100 * row["damage"]["mean"] for row in rows]
    halves = [100 * (row["damage"]["half"] or 0.0) for row in rows]
    low = [min(half, mean) for mean, half in zip(means, halves, strict=True)]
    axes.errorbar(
        *(means, range(len(rows))),
        xerr=[low, halves],
        fmt="o",
        markersize=6,
        color=MALICIOUS,
        elinewidth=1.4,
        capsize=2.5,
        label=label,
        zorder=3,
    )
