"""Figures over rounds: accuracy and attack success, detection; many runs in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from fedsim.reporting import style
from fedsim.reporting.labels import RunLike, distinct
from fedsim.reporting.series import Curve, Series, detection, learning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OVERLAID = len(style.CYCLE)
"""Up to this many runs share one panel; more get a small panel each."""

TWINS = 3
"""Up to this many overlaid runs show their clean twins."""

FINE = 60
"""Points of a curve in a small panel, which could not show more."""

PANEL = 1.75
"""Inches: the height of a panel with up to a handful of lines."""


class Measure(NamedTuple):
    """One measured share: its key, the words beside its axis, and how its line looks."""

    key: str
    title: str
    line: Any
    colour: str


LEARNING = (
    Measure("accuracy", "accuracy (%)", style.SOLID, style.BENIGN),
    Measure("attack_success_rate", "attack success (%)", style.DASHED, style.MALICIOUS),
)
DETECTION = (
    Measure("recall", "attackers caught (%)", style.SOLID, style.MALICIOUS),
    Measure("false_positive_rate", "benign dropped (%)", style.DASHED, style.BENIGN),
)


def figure(runs: RunLike | Sequence[RunLike]) -> Figure:
    """Accuracy and attack success by round; seeds are averaged, more than seven rules faceted."""
    listed = distinct(runs if isinstance(runs, Sequence) else [runs])
    return _drawn(learning(listed), LEARNING)


def detection_figure(runs: Sequence[RunLike]) -> Figure | None:
    """Recall and false positive rate up to each round; None where no rule gave weights."""
    series = detection(runs)
    return _drawn(series, DETECTION) if series else None


def _drawn(series: Sequence[Series], measures: Sequence[Measure]) -> Figure:
    shown = [m for m in measures if any(m.key in one.curves for one in series)] or [measures[0]]
    with style.styled():
        if len(series) > OVERLAID:
            return _faceted(series, shown)
        return _overlaid(series, shown)


def _overlaid(series: Sequence[Series], measures: Sequence[Measure]) -> Figure:
    """A panel for each measure, all series in it, named beside their ends."""
    lines = sum(style.shorten(one.text, 26).count("\n") + 1 for one in series)
    height = max(PANEL, 0.16 * lines)
    drawing = style.sheet(height * len(measures) + 0.55)
    panels = drawing.subplots(len(measures), sharex=True, squeeze=False)[:, 0]
    shared = {one.windows for one in series}
    handles: dict[str, Any] = {}
    for axes, measure in zip(panels, measures, strict=True):
        if len(shared) == 1:
            handles |= _shade(axes, series[0].windows)
        _axis(axes, measure)
        ends = []
        for position, one in enumerate(series):
            colour = style.CYCLE[position] if len(series) > 1 else measure.colour
            if len(series) <= TWINS:
                handles |= _twin(axes, one.twins.get(measure.key), colour)
            if found := one.curves.get(measure.key):
                place = position if len(series) > 1 else None
                handles |= _line(axes, found, measure, colour, place)[1]
                ends.append((one.text, 100 * found.mean[-1], colour))
        if len(series) > 1:
            style.name_lines(axes, ends, height)
    style.rounds_axis(panels[-1], *_ends(series))
    return style.finished(drawing, handles)


def _faceted(series: Sequence[Series], measures: Sequence[Measure]) -> Figure:
    """A small panel for each series with all its measures."""
    columns = min((4, 3) if len(series) <= 12 else (5, 4), key=lambda n: -len(series) % n)
    height = ceil(len(series) / columns)
    texts = [style.shorten(one.text, 88 // columns) for one in series]
    tall = max(text.count("\n") + 1 for text in texts)
    drawing = style.sheet((0.95 + 0.14 * tall) * height + 0.6)
    panels = drawing.subplots(height, columns, sharex=True, sharey=True, squeeze=False).ravel()
    handles: dict[str, Any] = {}
    lines: dict[str, Any] = {}
    for axes, one, text in zip(panels, series, texts, strict=False):
        axes.set_title(text, loc="left", fontsize=7.5, pad=3)
        handles |= _shade(axes, one.windows)
        _axis(axes, measures[0])
        axes.set_ylabel("")
        axes.set_yticks([0, 50, 100])
        for measure in measures:
            handles |= _twin(axes, one.twins.get(measure.key), measure.colour)
            if found := one.curves.get(measure.key):
                thin = _thinned(found, FINE if columns < 5 else FINE * 2 // 3)
                line, band = _line(axes, thin, measure, measure.colour)
                lines[measure.title.removesuffix(" (%)")] = line
                handles |= band
    for axes in panels[len(series) :]:
        axes.set_visible(False)
    for position, axes in enumerate(panels[: len(series)]):
        style.rounds_axis(axes, *_ends(series), label=False, ticks=5)
        axes.tick_params(labelbottom=position + columns >= len(series))
    drawing.supxlabel("round", fontsize=8)
    drawing.supylabel("share (%)", fontsize=8)
    return style.finished(drawing, lines | handles)


def _thinned(found: Curve, points: int) -> Curve:
    """Every k-th round of a long curve, its ends included."""
    step = ceil(len(found.rounds) / points)
    kept = sorted({0, *range(len(found.rounds) - 1, -1, -step)})
    return Curve(
        [found.rounds[i] for i in kept], [found.mean[i] for i in kept],
        [found.half[i] for i in kept],
    )  # fmt: skip


def _line(
    axes: Axes, found: Curve, measure: Measure, colour: str, position: int | None = None
) -> tuple[Any, dict[str, Any]]:
    """Draw the curve, marked where it shares its panel; its line and the handle of its band."""
    from matplotlib.patches import Patch

    mean = [100 * value for value in found.mean]
    few, step = len(mean) <= 12, max(1, len(mean) // 8)
    start = (position or 0) * step // OVERLAID
    (line,) = axes.plot(
        found.rounds, mean, color=colour, linestyle=measure.line, markersize=3.5,
        marker=style.MARKERS[position or 0] if few or position is not None else "",
        markevery=1 if few else (start, step),
    )  # fmt: skip
    if not any(found.half):
        return line, {}
    low = [max(-3, value - 100 * half) for value, half in zip(mean, found.half, strict=True)]
    high = [min(103, value + 100 * half) for value, half in zip(mean, found.half, strict=True)]
    axes.fill_between(found.rounds, low, high, color=colour, alpha=0.16, linewidth=0)
    return line, {
        "95 % interval of the mean over seeds": Patch(color=style.FAINT, alpha=0.3, linewidth=0)
    }


def _twin(axes: Axes, found: Curve | None, colour: str) -> dict[str, Any]:
    if found is None:
        return {}
    mean = [100 * value for value in found.mean]
    (line,) = axes.plot(
        found.rounds, mean, color=colour, linestyle=style.DOTTED, linewidth=1.2, zorder=1.5
    )
    level = len(mean) == 2 and mean[0] == mean[1]
    return {"clean twin, its end" if level else "clean twin (nobody attacks)": line}


def _shade(axes: Axes, windows: Sequence[tuple[int, int]]) -> dict[str, Any]:
    spans = windows if len(windows) <= 40 else [(windows[0][0], windows[-1][1])]
    patch = None
    for first, last in spans:
        patch = axes.axvspan(first - 0.5, last + 0.5, color=style.SHADE, linewidth=0, zorder=0)
    return {"rounds of the attack": patch} if patch else {}


def _axis(axes: Axes, measure: Measure) -> None:
    axes.set_ylim(-3, 103)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.set_ylabel(measure.title)
    style.grid(axes)


def _ends(series: Sequence[Series]) -> tuple[int, int]:
    """The first and last round that any curve shows."""
    rounds = [r for one in series for found in one.curves.values() for r in found.rounds]
    return min(rounds, default=0), max([*rounds, *(one.last for one in series)], default=0)
