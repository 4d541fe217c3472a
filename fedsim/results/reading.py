"""Finished runs and sweeps, read from their folders, pleasant in a notebook."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim import __version__
from fedsim.errors import InputError
from fedsim.results import shapes
from fedsim.results.files import Record, plain, read_json, write_json
from fedsim.results.store import RunFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SCORES = ("accuracy", "attack_success_rate", "robust_accuracy")


@dataclass(frozen=True, repr=False)
class Run:
    """A run at `path`; `labels` tell it from the other cells of its sweep."""

    path: Path
    labels: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def summary(self) -> Record:
        """The object of summary.json; InputError if the run has not finished."""
        return RunFolder(self.path).summary()

    @cached_property
    def rounds(self) -> list[Record]:
        """A flat dict per round, round 0 first; also of a run that has not finished."""
        return [_flat(record) for record in self._whole("rounds.jsonl", RunFolder.rounds)]

    @cached_property
    def clients(self) -> list[Record]:
        """A flat dict per client and round."""
        return self._whole("clients.jsonl", RunFolder.clients)

    def _whole(self, name: str, read: Callable[[RunFolder], list[Record]]) -> list[Record]:
        """The records of a file; InputError if a finished run lacks those of its last round."""
        folder = RunFolder(self.path)
        records = read(folder)
        if folder.finished and (found := _last(records)) != (last := self.summary["rounds"]):
            text = f"ends at round {found}, the run at round {last}; the file is damaged."
            raise InputError(f"{self.path / name}: {text}")
        return records

    @cached_property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario as plain values."""
        return RunFolder(self.path).scenario()

    @property
    def label(self) -> str:
        """What tells the run in a legend: its sweep labels, or its name without any."""
        short = {key: key.rpartition(".")[2] for key in self.labels}
        unique = len(set(short.values())) == len(short)
        parts = [f"{short[k] if unique else k}={text}" for k, text in self.labels.items()]
        return ", ".join(parts) or str(self.summary["name"])

    def figure(self) -> "Figure":
        """Accuracy and attack success over the rounds, as a matplotlib figure."""
        from fedsim.reporting import figure

        return figure(self)

    def __repr__(self) -> str:
        scores = ", ".join(f"{key} {text}" for key, text in _cells(self.summary).items())
        return f"Run({self.path.name}: {scores})"

    def _repr_html_(self) -> str:
        return _html([{"run": self.path.name, **_cells(self.summary)}])


@dataclass(frozen=True, repr=False)
class Sweep:
    """A sweep at `path`, whose cells lie in folders beside it."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def record(self) -> Record:
        """The object of sweep.json."""
        path = self.path / "sweep.json"
        record = read_json(path)
        shapes.check(shapes.Sweep, record, path)
        return record

    @property
    def name(self) -> str:
        """The name of the scenario."""
        return str(self.record["name"])

    @property
    def scenario(self) -> dict[str, Any]:
        """The scenario with its matrix, as plain values."""
        return dict(self.record["scenario"])

    @cached_property
    def runs(self) -> list[Run]:
        """The finished runs in the order of the matrix."""
        finished = [cell for cell in self.record["cells"] if cell["status"] == "finished"]
        return [Run(self.path.parent / cell["run"], cell["labels"]) for cell in finished]

    @cached_property
    def cells(self) -> list[Record]:
        """A flat dict per cell: its labels, folder, status, error, and scores (None without)."""
        runs = iter(self.runs)
        return [self._cell(cell, runs) for cell in self.record["cells"]]

    def figure(self) -> "Figure":
        """The finished runs side by side, as a matplotlib figure."""
        from fedsim.reporting import figure

        return figure(self.runs)

    def _cell(self, cell: Record, runs: Any) -> Record:
        known = {"run": cell["run"], "status": cell["status"], "error": cell.get("error")}
        summary = next(runs).summary if cell["status"] == "finished" else {}
        detected = summary.get("detection") or {}
        twin = summary.get("clean_twin") or {}
        return {
            **cell["labels"],
            **known,
            **{key: summary.get(key) for key in _SCORES},
            "accuracy_drop": twin.get("accuracy_drop"),
            "detection_precision": detected.get("precision"),
            "detection_recall": detected.get("recall"),
            "flags": " ".join(flag["flag"] for flag in summary.get("flags", [])),
        }

    def __repr__(self) -> str:
        cells = self.record["cells"]
        return f"Sweep({self.path.name}: {len(self.runs)} of {len(cells)} runs finished)"

    def _repr_html_(self) -> str:
        runs = iter(self.runs)
        rows = []
        for cell in self.record["cells"]:
            done = cell["status"] == "finished"
            scores = _cells(next(runs).summary) if done else {"status": cell["status"]}
            rows.append({**cell["labels"], **scores})
        return _html(rows)


def load(folder: Path | str) -> Run | Sweep:
    """The finished run, or the sweep, in `folder`; InputError if it is neither."""
    path = Path(folder)
    if os.path.isfile(path / "sweep.json"):  # False for a name too long for the system, too
        sweep = Sweep(path)
        _ = sweep.record
        return sweep
    if not os.path.isdir(path):
        raise InputError(f"{path}: there is no such folder.")
    if not RunFolder(path).exists:
        lacks = "it has neither scenario.yaml nor sweep.json"
        raise InputError(f"{path}: is not the folder of a run or a sweep: {lacks}.")
    run = Run(path)
    _ = run.summary
    return run


def write_sweep(
    path: Path,
    *,
    name: str,
    hash: str,
    scenario: Mapping[str, Any],
    cells: Sequence[Mapping[str, Any]],
) -> Sweep:
    """Write `path`/sweep.json atomically, the cells in the order of the matrix; the Sweep there.

    A cell is `{labels, run, hash, status, error}`: `run` the name of its folder beside `path`,
    `status` one of finished, failed, unfinished, `error` None or one line.
    """
    head = {"fedsim": __version__, "name": name, "hash": hash, "scenario": scenario}
    record = plain({**head, "cells": list(cells)})
    shapes.check(shapes.Sweep, record, path)
    path.mkdir(parents=True, exist_ok=True)
    write_json(path / "sweep.json", record)
    return Sweep(path)


def _last(records: Sequence[Record]) -> int:
    return max((record["round"] for record in records), default=0)


def _flat(record: Record) -> Record:
    """`record` with the seconds of its phases as `seconds.train` and so on."""
    phases = record.get("seconds") or {}
    rest = {key: value for key, value in record.items() if key != "seconds"}
    return {**rest, **{f"seconds.{phase}": value for phase, value in phases.items()}}


def _cells(summary: Record) -> dict[str, str]:
    """The main scores as short text."""
    scores = {key.replace("_", " "): _score(summary.get(key)) for key in _SCORES}
    flags = ", ".join(flag["flag"] for flag in summary["flags"])
    return {"rounds": str(summary.get("rounds")), **scores, "flags": flags or "none"}


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _html(rows: Sequence[Mapping[str, str]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(row.get(key, '')))}</td>" for key in columns) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
