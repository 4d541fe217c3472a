"""Checks on a finished model, and what they leave in its run's folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fedsim.flower.client_app import torch_threads
from fedsim.results import RunFolder
from fedsim.results.after import LEARNED, write_after
from fedsim.scenario.after import distinct_names
from fedsim.simulation import Federation
from fedsim.simulation.after import Checked, check

CACHE = ".cache"
"""The folder, beside the runs, of what checks compute once for many."""


def check_run(
    federation: Federation, model: nn.Module, pattern: Tensor | None, path: Path
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Do what the scenario's `after` asks for in the run at `path`, and keep what comes of it.

    Returns: the entries of the summary, and why checks found nothing to work on, by their names.
    """
    if pattern is not None:
        write_after(path, LEARNED, {LEARNED: pattern})
    choices, cache = federation.scenario.after, path.resolve().parent / CACHE
    records, problems, names = [], {}, distinct_names(choices)
    with torch_threads(federation.scenario.engine.server_threads):
        found = check(federation, model, choices, pattern=pattern, cache=cache)
        for position, one in enumerate(found):
            records.append(one.record)
            _write(path, position, one)
            if one.problem is not None:
                problems[names[position]] = one.problem
    return records, problems


def keep(path: Path, found: Sequence[Checked]) -> None:
    """Add to the finished run at `path` what was found of its model later.

    Raises: InputError if it has not finished or somebody else is writing it, RunError if it cannot
    be written.
    """
    folder = RunFolder(path)
    with folder.locked():
        summary = folder.summary()
        first = len(summary["after"])
        for position, one in enumerate(found, first):
            _write(path, position, one)
        folder.amend({**summary, "after": [*summary["after"], *(one.record for one in found)]})


def _write(path: Path, position: int, one: Checked) -> None:
    name = f"{position}-{one.record['name']}"
    if one.repaired:
        write_after(path, name, one.model.state_dict())
    if one.trigger is not None:
        write_after(path, f"{name}-trigger", one.trigger._asdict())
