"""The checks that a scenario asks for after its rounds, and what they leave in the run's folder."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fedsim.flower.client_app import torch_threads
from fedsim.results.after import LEARNED, write_after
from fedsim.scenario.after import distinct_names
from fedsim.simulation import Federation
from fedsim.simulation.after import check

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
            name = f"{position}-{one.record['name']}"
            if one.repaired:
                write_after(path, name, one.model.state_dict())
            if one.trigger is not None:
                write_after(path, f"{name}-trigger", one.trigger._asdict())
            if one.problem is not None:
                problems[names[position]] = one.problem
    return records, problems
