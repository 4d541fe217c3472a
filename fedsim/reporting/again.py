"""How to reproduce what a page shows: commands, hashes, scenarios, versions."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.reporting.labels import Group, RunLike
from fedsim.reporting.parts import Grid
from fedsim.results import RunFolder, Sweep
from fedsim.results.store import to_yaml

SCENARIOS = 12
"""So many scenarios are listed in full."""

RUNS = 60
"""So many runs are listed with what tells whether they were reproduced."""


@dataclass(frozen=True)
class Again:
    """What stands in the section."""

    commands: list[str]
    runs: Grid
    unnamed: int
    """Runs that are not in the table."""
    scenarios: list[tuple[str, str]]
    unlisted: int
    """Scenarios that are not listed."""


def again(
    runs: Sequence[RunLike], groups: Sequence[Group], sweeps: Sequence[Sweep]
) -> Again | None:
    """What is needed to run everything again; None without runs."""
    if not runs:
        return None
    rows = [
        [run.path.name, str(run.summary["seed"]), str(run.summary["parameters_sha256"])[:16]]
        for run in runs[:RUNS]
    ]
    whole = [(f"{one.name}, the whole sweep", to_yaml(one.scenario)) for one in sweeps]
    each = [(one.text, to_yaml(one.runs[0].scenario)) for one in groups[:SCENARIOS]]
    return Again(
        _commands(runs, sweeps),
        Grid(["run", "seed", "SHA-256 of the parameters"], rows),
        max(0, len(runs) - RUNS),
        whole + each,
        max(0, len(groups) - SCENARIOS),
    )


def _commands(runs: Sequence[RunLike], sweeps: Sequence[Sweep]) -> list[str]:
    """Lines for a shell in the folder that holds the run folders."""
    swept = {cell["run"] for one in sweeps for cell in one.record["cells"]}
    alone = [run.path.name for run in runs if run.path.name not in swept][:SCENARIOS]
    lines = [f"fedsim run {shlex.quote(f'{one.name}.yaml')} --output again" for one in sweeps]
    lines += [f"fedsim run {shlex.quote(f'{name}/scenario.yaml')} --output again" for name in alone]
    first = runs[0].path.name
    return [*lines, f"fedsim compare {shlex.quote(first)} {shlex.quote(f'again/{first}')}"]


def made_with(runs: Sequence[RunLike]) -> dict[str, str]:
    """Where the first run was made, and whether the others were made elsewhere."""
    found = [
        RunFolder(run.path).environment()
        for run in runs
        if (run.path / "environment.json").is_file()
    ]
    if not found:
        return {}
    shown: Mapping[str, Any] = {
        key: ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        for key, value in found[0].items()
        if value is not None
    }
    others = sum(other != found[0] for other in found)
    note = {"note": f"{others} of {len(runs)} runs were made in another environment"}
    return {str(k): str(v) for k, v in {**shown, **(note if others else {})}.items()}
