"""What checks on finished models found: a table, ROC curves, recovered triggers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from fedsim.errors import InputError
from fedsim.reporting import style
from fedsim.reporting.labels import Group, RunLike
from fedsim.reporting.parts import Grid, Picture, Section
from fedsim.reporting.pictures import montage_figure, read_examples
from fedsim.reporting.words import NULL, percent
from fedsim.results import Run, RunFolder
from fedsim.results.after import after_path, read_after
from fedsim.results.stats import mean_interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Entry = Mapping[str, Any]

COLUMNS = (
    *("check", "verdict", "score", "threshold", "target"),
    *("accuracy %", "accuracy after", "ASR %", "ASR after"),
    *("caught %", "clean lost %", "seconds"),
)
"""The columns of a table of checks."""

SHOWN = 6
"""Pictures of recovered triggers on a page."""


class Checks(NamedTuple):
    """Runs that were checked in the same way; `attacked` says whether anybody attacked them."""

    text: str
    runs: tuple[RunLike, ...]
    attacked: bool


def after_sections(groups: Sequence[Group]) -> list[Section]:
    """The sections on checks after training, clean twins included; none where nobody checked."""
    checked = list(_checked(groups))
    if not checked:
        return []
    pictures = [*_roc(checked), *_triggers(checked)]
    rows = [[one.text, *row] for one in checked for row in _rows(one.runs)]
    grid = Grid(*filled(["", *COLUMNS], rows))
    return [Section("After training", pictures, grid, _legend(checked))]


def cells(entries: Sequence[Entry]) -> list[str]:
    """The same check of several runs, entries of `summary.after`, as the texts of a row."""
    verdicts = [one["verdict"] for one in entries if one["verdict"]]
    targets = {str(one["target"]) for one in verdicts if one["target"] is not None}
    return [
        str(entries[0]["name"]),
        _said(verdicts),
        _number([one["score"] for one in verdicts]),
        _number([one["threshold"] for one in verdicts]),
        ", ".join(sorted(targets)) or NULL,
        *(
            percent(mean_interval((one[when] or {}).get(key) for one in entries))
            for key in ("accuracy", "attack_success_rate")
            for when in ("before", "after")
        ),
        *(
            percent(mean_interval((one["caught"] or {}).get(key) for one in entries))
            for key in ("triggered", "clean")
        ),
        f"{fmean(one['seconds'] for one in entries):.1f}",
    ]


def filled(header: Sequence[str], rows: Sequence[list[str]]) -> tuple[list[str], list[list[str]]]:
    """The table without the columns in which there is nothing."""
    kept = [k for k in range(len(header)) if any(row[k] != NULL for row in rows)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in rows]


def _checked(groups: Sequence[Group]) -> Iterator[Checks]:
    seen: set[Path] = set()
    for one in groups:
        runs = tuple(run for run in one.runs if run.summary.get("after"))
        if runs:
            yield Checks(one.text, runs, _attacked(runs[0]))
        twins = {run.path.absolute(): run for run in _twins(runs)}
        new = tuple(run for path, run in twins.items() if path not in seen)
        seen |= twins.keys()
        if new:
            yield Checks(f"{one.text}, clean twin", new, attacked=False)


def _twins(runs: Sequence[RunLike]) -> Iterator[Run]:
    """The clean twins beside the runs that were checked too."""
    for run in runs:
        digest = (run.summary.get("clean_twin") or {}).get("hash")
        folder = RunFolder(run.path.parent / f"{run.summary['name']}-{digest}")
        if digest and folder.finished and folder.summary().get("after"):
            yield Run(folder.path)


def _attacked(run: RunLike) -> bool:
    adversary = run.scenario.get("adversary") or {}
    return bool(adversary.get("clients") or adversary.get("fraction"))


def _rows(runs: Sequence[RunLike]) -> Iterator[list[str]]:
    checks = [run.summary["after"] for run in runs]
    for position, first in enumerate(checks[0]):
        same = [done[position] for done in checks if len(done) > position]
        yield cells([one for one in same if one["name"] == first["name"]])


def _legend(checked: Sequence[Checks]) -> list[str]:
    kinds = {entry["kind"] for one in checked for run in one.runs for entry in run.summary["after"]}
    told = ["Checks on the finished model with the server's clean data, in their order."]
    if "filters" in kinds:
        told.append(
            "Caught: of the stamped images that met the target, those that a filter rejects or "
            "disarms. Clean lost: of the test images that were right, those it rejects or spoils."
        )
    if any(len(one.runs) > 1 for one in checked):
        told.append("Means over seeds, with the 95 % interval.")
    return told


def _said(verdicts: Sequence[Entry]) -> str:
    found = sum(one["backdoored"] for one in verdicts)
    if len(verdicts) > 1:
        return f"backdoored in {found} of {len(verdicts)}"
    return {(1, 1): "backdoored", (0, 1): "clean"}.get((found, len(verdicts)), NULL)


def _number(values: Sequence[float | None]) -> str:
    found = mean_interval(values)
    return NULL if found is None else f"{found.mean:.3g}"


def roc(
    attacked: Sequence[float], clean: Sequence[float]
) -> tuple[list[tuple[float, float]], float]:
    """The points (false alarms, detections) over all thresholds, and the area under them.

    A model is called backdoored where its score is over the threshold.

    >>> roc([3.0, 1.0], [1.0, 0.0])
    ([(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)], 0.875)
    """
    points = [(0.0, 0.0)]
    for threshold in sorted({*attacked, *clean}, reverse=True):
        false = sum(score >= threshold for score in clean) / len(clean)
        points.append((false, sum(score >= threshold for score in attacked) / len(attacked)))
    wins = sum((a > c) + (a == c) / 2 for a in attacked for c in clean)
    return points, wins / (len(attacked) * len(clean))


def _roc(checked: Sequence[Checks]) -> Iterator[Picture]:
    scores: dict[str, tuple[list[float], list[float]]] = {}
    for one in checked:
        for run in one.runs:
            for entry in takewhile(_leaves_the_model, run.summary["after"]):
                if entry["verdict"] and entry["verdict"]["score"] is not None:
                    lists = scores.setdefault(entry["name"], ([], []))
                    lists[0 if one.attacked else 1].append(entry["verdict"]["score"])
    known = {name: lists for name, lists in scores.items() if all(lists)}
    if known:
        most = max(known.values(), key=lambda lists: len(lists[0]) + len(lists[1]))
        told = (
            f"Detections over false alarms as the threshold moves, {len(most[0])} attacked and "
            f"{len(most[1])} clean models. An attack that did not succeed counts as attacked."
        )
        yield Picture(style.svg(_curves(known), "roc", "ROC of the inspections"), told)


def _leaves_the_model(entry: Entry) -> bool:
    """False for a repair that was done: what is inspected behind it is another model."""
    return entry["kind"] != "repairs" or entry["after"] is None


def _curves(scores: Mapping[str, tuple[list[float], list[float]]]) -> Figure:
    with style.styled():
        drawing = style.sheet(2.6, 3.4)
        axes = drawing.subplots()
        axes.plot([0, 100], [0, 100], color=style.GRID, linewidth=0.8, zorder=1)
        handles = {}
        for position, (name, lists) in enumerate(scores.items()):
            points, area = roc(*lists)
            x, y = zip(*points, strict=True)
            colour = style.CYCLE[position % len(style.CYCLE)]
            (line,) = axes.plot([100 * v for v in x], [100 * v for v in y], color=colour)
            handles[f"{name}, area {area:.2f}"] = line
        axes.set_xlabel("false alarms (%)")
        axes.set_ylabel("detections (%)")
        axes.set_xlim(-3, 103)
        axes.set_ylim(-3, 103)
        return style.finished(drawing, handles)


def _triggers(checked: Sequence[Checks]) -> Iterator[Picture]:
    found = (
        (one.text, run, f"{position}-{entry['name']}", entry)
        for one in checked
        for run in one.runs[:1]
        for position, entry in enumerate(run.summary["after"])
        if entry["verdict"]
    )
    for number, (text, run, file, entry) in enumerate(found):
        trigger = _recovered(run, f"{file}-trigger") if number < SHOWN else {}
        if not trigger:
            continue
        drawing = montage_figure(_beside(read_examples(run.path), trigger))
        told = f"{text}, {entry['name']}: the attack's trigger beside the one that was recovered"
        target = entry["verdict"]["target"]
        told += f" for class {target}." if target is not None else "."
        yield Picture(style.svg(drawing, f"t{number}", told), told)


def _recovered(run: RunLike, name: str) -> Mapping[str, Any]:
    """The mask and the pattern; empty where none was recovered, InputError if they do not fit."""
    trigger, examples = read_after(run.path, name), read_examples(run.path)
    shapes = [tuple(one.shape) for one in trigger.values()]
    sizes = {shape[-2:] for shape in shapes + [tuple(one.shape) for one in examples.values()][:1]}
    fits = (
        trigger.keys() == {"mask", "pattern"}
        and len(sizes) == 1
        and {len(s) for s in shapes} == {3}
    )
    if trigger and not (fits and all(one.isfinite().all() for one in trigger.values())):
        path = after_path(run.path, name)
        raise InputError(f"{path}: holds no mask and pattern of an image; the file is damaged.")
    return trigger


def _beside(examples: Mapping[str, Any], trigger: Mapping[str, Any]) -> dict[str, Any]:
    """Rows of images: clean ones, with the real trigger, with the recovered one; and its parts."""
    mask, pattern = trigger["mask"], trigger["pattern"]
    rows = {}
    if {"clean", "stamped"} <= examples.keys():
        recovered = (1 - mask) * examples["clean"] + mask * pattern
        rows = {"clean": examples["clean"], "real": examples["stamped"], "recovered": recovered}
    whole = mask[None].expand(1, *pattern.shape)
    return {**rows, "its mask": whole, "on black": (mask * pattern)[None]}
