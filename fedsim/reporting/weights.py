"""Who was given weight: by round, by client, and by rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedsim.reporting import style
from fedsim.reporting.labels import Group, RunLike
from fedsim.results.stats import mean_interval

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

Record = Mapping[str, Any]

NAMED = 60
"""Up to this many clients have a row each; more are shown by their place in the cohort."""

FAILED = "#F0E442"

FRAME = 5
"""A cell that is drawn hollow is so many pixels wide and high, the outer ones its frame."""

MANY = 6000
"""Of more cells none is drawn hollow: it would be too small; pale ones stand for them."""


def has_weights(run: RunLike) -> bool:
    """Whether the rule gave its rows weights in any round."""
    return any(row["weight"] is not None for row in run.clients)


def is_even(run: RunLike) -> bool:
    """Whether all updates of a round always weighed the same."""
    weights: dict[int, list[float]] = {}
    for row in run.clients:
        if row["weight"] is not None:
            weights.setdefault(row["round"], []).append(row["weight"])
    return all(max(own) - min(own) <= 1e-6 * max(own) for own in weights.values())


def weight_figure(run: RunLike) -> Figure | None:
    """Who was given weight: acting clients' share by round above, every row below."""
    rows = [row for row in run.clients if row["weight"] is not None or row["failed"]]
    if not has_weights(run):
        return None
    with style.styled():
        rounds = sorted({row["round"] for row in rows})
        return _bars(rows) if len(rounds) == 1 else _map(rows, rounds)


def share_figure(groups: Sequence[Group]) -> Figure | None:
    """For each rule the share of weight that acting clients got, beside their share of rows.

    Over the rounds in which somebody acts; None where no rule gave weights.
    """
    shares = {one.text: _shares(one.runs) for one in groups}
    shown = {text: pair for text, pair in shares.items() if pair is not None}
    if not shown:
        return None
    texts = [style.shorten(text, 34, 2) for text in shown]
    with style.styled():
        drawing = style.sheet(0.8 + 0.2 * sum(text.count("\n") + 1 for text in texts))
        axes = drawing.subplots()
        handles: dict[str, Any] = {}
        for place, (given, fair) in enumerate(shown.values()):
            axes.plot([fair, given], [place, place], color=style.GRID, linewidth=2.5, zorder=1)
            handles |= _pair(axes, given, fair, place)
            axes.text(
                1.01, place, f"{given:.1f} of {fair:.1f}", transform=axes.get_yaxis_transform(),
                va="center", fontsize=7.5,
            )  # fmt: skip
        axes.set_yticks(range(len(texts)), texts)
        axes.set_ylim(len(texts) - 0.5, -0.5)
        axes.set_xlim(0, 1.08 * max(1.0, *(max(pair) for pair in shown.values())))
        axes.set_xlabel("share in the rounds with an attack (%)")
        axes.grid(axis="x", color=style.GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        return style.finished(drawing, handles)


def _pair(axes: Axes, given: float, fair: float, place: float) -> dict[str, Any]:
    (even,) = axes.plot(fair, place, "|", color=style.INK, markersize=9)
    (got,) = axes.plot(given, place, "^", color=style.MALICIOUS, markersize=6, clip_on=False)
    return {"of the weight, given to acting clients": got, "of the rows, sent by them": even}


def _shares(runs: Iterable[RunLike]) -> tuple[float, float] | None:
    """Percent of the weight given to acting rows, and percent of the rows they are."""
    given, fair = [], []
    for run in runs:
        attacked = {row["round"] for row in run.clients if row["acting"]}
        rows = [r for r in run.clients if r["round"] in attacked and r["weight"] is not None]
        total = sum(row["weight"] for row in rows)
        if total > 0:
            acting = [row for row in rows if row["acting"]]
            given.append(100 * sum(row["weight"] for row in acting) / total)
            fair.append(100 * len(acting) / len(rows))
    weight, rows_ = mean_interval(given), mean_interval(fair)
    return None if weight is None or rows_ is None else (weight.mean, rows_.mean)


def _bars(rows: Sequence[Record]) -> Figure:
    """One round: a bar for each row of the cohort, acting ones first."""
    ordered = sorted(rows, key=lambda row: (not row["acting"], row["client"]))
    drawing = style.sheet(2.0)
    axes = drawing.subplots()
    handles: dict[str, Any] = {}
    for text, colour in style.ROLES.items():
        places = [i for i, row in enumerate(ordered) if style.role(row) == text]
        heights = [ordered[i]["weight"] or 0.0 for i in places]
        if places:
            width = 0.8 if len(ordered) <= NAMED else 1.0
            handles[text] = axes.bar(places, heights, color=colour, width=width)
    dropped = [i for i, row in enumerate(ordered) if row["weight"] == 0]
    failed = [i for i, row in enumerate(ordered) if row["weight"] is None]
    for text, places, marker in (("weight 0", dropped, "o"), ("failed", failed, "x")):
        if places:
            handles[text] = axes.plot(
                places, [0] * len(places), marker, color=style.INK, markerfacecolor="white",
                markersize=3 if len(ordered) <= NAMED else 1.5, markeredgewidth=0.7,
                clip_on=False, zorder=3,
            )[0]  # fmt: skip
    axes.set_ylabel("weight")
    axes.set_xlabel("client" if len(ordered) <= 30 else "clients of the round, acting ones first")
    axes.set_xticks(range(len(ordered)), [str(row["client"]) for row in ordered])
    if len(ordered) > 30:
        axes.set_xticks([])
    axes.set_ylim(bottom=0)
    style.grid(axes)
    return style.finished(drawing, handles)


def _map(rows: Sequence[Record], rounds: Sequence[int]) -> Figure:
    """Several rounds: the share line, and a picture with a column for each round."""
    members = {row["client"]: row["malicious"] for row in rows}
    named = len(members) <= NAMED
    cells, ticks = (_by_client if named else _by_place)(rows, rounds, members)
    count, picture = len(cells), _painted(cells, rows)
    below = min(max(0.11 * count, 0.8), 3.2)
    drawing = style.sheet(1.2 + below + 0.7)
    upper, lower = drawing.subplots(2, sharex=True, height_ratios=[1.2, below])
    handles = _share_lines(upper, rows, rounds)
    first, last = rounds[0], rounds[-1]
    lower.imshow(
        picture, interpolation="none", aspect="auto",
        extent=(first - 0.5, last + 0.5, count - 0.5, -0.5),
    )  # fmt: skip
    for text, place in ticks.items():
        lower.annotate(
            text, (0, place), (-6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=7,
        )  # fmt: skip
    lower.set_yticks([])
    if not named:
        lower.set_ylabel("rows of a round,\nacting first, by weight", labelpad=14)
    if named and 0 < sum(members.values()) < len(members):
        lower.axhline(sum(members.values()) - 0.5, color=style.INK, linewidth=0.8)
    style.rounds_axis(lower, first, last)
    lower.set_xlim(first - 0.5, last + 0.5)
    return style.finished(drawing, handles | _patches(rows))


def _share_lines(axes: Axes, rows: Sequence[Record], rounds: Sequence[int]) -> dict[str, Any]:
    given, fair = dict.fromkeys(rounds, 0.0), dict.fromkeys(rounds, 0.0)
    total, count = dict.fromkeys(rounds, 0.0), dict.fromkeys(rounds, 0)
    for row in rows:
        if row["weight"] is not None:
            total[row["round"]] += row["weight"]
            count[row["round"]] += 1
            if row["acting"]:
                given[row["round"]] += row["weight"]
                fair[row["round"]] += 1
    shown = [r for r in rounds if fair[r] and total[r] > 0]
    dense = len(shown) > NAMED
    (even,) = axes.plot(
        shown, [100 * fair[r] / count[r] for r in shown], color=style.INK, linewidth=0.9,
        linestyle=style.DOTTED if dense else "", marker="" if dense else "_", markersize=4,
    )  # fmt: skip
    (line,) = axes.plot(
        shown, [100 * given[r] / total[r] for r in shown], color=style.MALICIOUS, linewidth=0.9,
        linestyle=style.SOLID if dense else "", marker="" if dense else "^", markersize=3.5,
        clip_on=False,
    )  # fmt: skip
    axes.set_ylabel("share (%)")
    axes.set_ylim(0, 1.15 * max([1.0, *(100 * fair[r] / count[r] for r in shown),
                                 *(100 * given[r] / total[r] for r in shown)]))  # fmt: skip
    style.grid(axes)
    return {"of the weight, given to acting clients": line, "of the rows, sent by them": even}


def _by_client(
    rows: Sequence[Record], rounds: Sequence[int], members: Mapping[int, bool]
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """A line for each client, the adversary's on top; who was not drawn is white."""
    order = sorted(members, key=lambda client: (not members[client], client))
    place = {client: i for i, client in enumerate(order)}
    column = {round_: i for i, round_ in enumerate(range(rounds[0], rounds[-1] + 1))}
    picture = _blank(len(order), len(column))
    for i, row in enumerate(rows):
        picture[place[row["client"]], column[row["round"]]] = i
    bad = sum(members.values())
    if len(order) <= 26:
        return picture, {f"client {client}": float(i) for client, i in place.items()}
    return picture, _sides(bad, len(order), "malicious", "benign")


def _by_place(
    rows: Sequence[Record], rounds: Sequence[int], members: Mapping[int, bool]
) -> tuple[NDArray[np.int64], dict[str, float]]:
    """A line for each place in the cohort: acting clients on top, then by weight."""
    cohorts: dict[int, list[int]] = {round_: [] for round_ in rounds}
    for i, row in enumerate(rows):
        cohorts[row["round"]].append(i)
    size = max(len(cohort) for cohort in cohorts.values())
    picture = _blank(size, rounds[-1] - rounds[0] + 1)
    for round_, cohort in cohorts.items():
        cohort.sort(key=lambda i: (not rows[i]["acting"], -(rows[i]["weight"] or 0.0)))
        for place, i in enumerate(cohort):
            picture[place, round_ - rounds[0]] = i
    return picture, {"1": 0.0, f"{size}": size - 1.0} if size > 3 else {}


def _blank(height: int, width: int) -> NDArray[np.int64]:
    """Cells that hold no row; others hold the index of theirs."""
    import numpy as np

    return np.full((height, width), -1)


def _painted(cells: NDArray[np.int64], rows: Sequence[Record]) -> NDArray[np.float64]:
    """The cells in the colours of their rows, hollow where the weight is zero."""
    import numpy as np

    hollow = np.array([row["weight"] == 0 for row in rows] + [False])[cells]
    colours = np.array([*_colours(rows), (1.0, 1.0, 1.0)])
    if cells.size > MANY:
        return np.where(hollow[..., None], 1 - 0.2 * (1 - colours[cells]), colours[cells])
    picture = colours[cells].repeat(FRAME, axis=0).repeat(FRAME, axis=1)
    for i, j in np.argwhere(hollow) * FRAME:
        picture[i + 1 : i + FRAME - 1, j + 1 : j + FRAME - 1] = 1
    return picture


def _sides(bad: int, total: int, upper: str, lower: str) -> dict[str, float]:
    sides = {upper: (bad - 1) / 2, lower: (bad + total - 1) / 2}
    return {text: place for text, place in sides.items() if 0 <= place < total - 0.5}


def _colours(rows: Sequence[Record]) -> list[tuple[float, ...]]:
    """The colour of each row's role, the darker the larger its weight in the round."""
    from matplotlib.colors import to_rgb

    total: dict[int, float] = {}
    count: dict[int, int] = {}
    for row in rows:
        total[row["round"]] = total.get(row["round"], 0.0) + (row["weight"] or 0.0)
        count[row["round"]] = count.get(row["round"], 0) + 1
    colours: list[tuple[float, ...]] = []
    for row in rows:
        base = to_rgb(style.ROLES[style.role(row)])
        if not row["weight"]:
            colours.append(to_rgb(FAILED) if row["weight"] is None else base)
            continue
        even = total[row["round"]] / count[row["round"]]
        depth = 0.35 + 0.65 * min(row["weight"] / (2 * even), 1.0)
        colours.append(tuple(1 - depth * (1 - part) for part in base))
    return colours


def _patches(rows: Sequence[Record]) -> dict[str, Any]:
    from matplotlib.patches import Patch

    seen = {style.role(row) for row in rows if row["weight"] is not None}
    patches: dict[str, Any] = {
        text: Patch(color=colour) for text, colour in style.ROLES.items() if text in seen
    }
    if any(row["weight"] == 0 for row in rows):
        patches["hollow or pale: weight 0"] = Patch(
            facecolor="white", edgecolor=style.INK, linewidth=1.0
        )
    if any(row["weight"] is None for row in rows):
        patches["failed"] = Patch(color=FAILED)
    return patches
