"""The damage of every attack under a rule, beside what it does under the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fedsim.evaluation.words import attack_text
from fedsim.reporting.style import FAINT, GRID, MALICIOUS, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OTHERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def damage_figure(card: Mapping[str, Any]) -> Figure:
    """A line for each attack: the rule's damage with its interval, the others' as small marks."""
    rows = card["attacks"]
    figure = sheet(0.9 + 0.34 * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    for k, other in enumerate(card["references"]):
        damages = [100 * one["damage"]["mean"] for one in other["attacks"]]
        axes.plot(
            *(damages, places),
            linestyle="none",
            marker=OTHERS[k % len(OTHERS)],
            markersize=4.5,
            markerfacecolor="none",
            markeredgecolor=FAINT,
            markeredgewidth=0.8,
            label=other["label"],
        )
    means = [100 * row["damage"]["mean"] for row in rows]
    halves = [100 * (row["damage"]["half"] or 0.0) for row in rows]
    low = [min(half, mean) for mean, half in zip(means, halves, strict=True)]
    axes.errorbar(
        *(means, places),
        xerr=[low, halves],
        fmt="o",
        markersize=7,
        color=MALICIOUS,
        elinewidth=1.4,
        capsize=3,
        label=card["rule"]["label"],
        zorder=3,
    )
    axes.set_yticks(list(places), [attack_text(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xlabel(
        "damage (percentage points): attack success won or accuracy lost, whichever is more"
    )
    axes.grid(axis="both", color=GRID, linewidth=0.5)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.3)
    return figure
