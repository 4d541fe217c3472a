"""One rule in front of every attack of a suite: `fedsim.evaluate`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsim import __version__
from fedsim.cells import Outcomes, Where, play_cells, refuse_early
from fedsim.datasets import default_source
from fedsim.errors import InputError, RunError
from fedsim.evaluation import REPORTED, Card, Judged, card_record, load_suite, write_card
from fedsim.evaluation.measured import guess_of, keys_of, measure
from fedsim.execution import Settings, folder_of, twin_of
from fedsim.library import Named
from fedsim.progress import Progress, Silence
from fedsim.reporting.words import duration
from fedsim.results import Run, RunFolder
from fedsim.scenario import Cell
from fedsim.scenario.matrix import texts
from fedsim.spawning import num_cores
from fedsim.testing import Violation, check_aggregator, is_random
from fedsim.trial import Trial, on_trial

VERSIONS = ("python", "torch", "flwr", "numpy", "cpu", "device")


class ContractError(InputError):
    """A rule breaks laws of aggregation, a line each: it gets no score."""

    def __init__(self, rule: str, violations: Sequence[Violation]) -> None:
        super().__init__("\n".join(f"{rule}: {' '.join(str(one).split())}" for one in violations))
        self.violations = list(violations)


def evaluate(
    rule: Named,
    suite: str | Path = "quick",
    *,
    output: Path | str = "runs",
    jobs: int | None = None,
    **parameters: Any,
) -> Card:
    """The score card of `rule`, written to `<output>/<rule>-<suite>/`.

    The rule is first checked against the laws of aggregation (`fedsim.testing`), then put in front
    of every attack of the suite, beside the suite's reference rules. Runs that are there already
    are not run again; those that are missing take `jobs` processes at a time, one for each core by
    default. A rule that has `num_byzantine` and is given none gets the suite's assumption.

    Args:
        rule: a name, `{name: …, parameters}`, "file.py:function", or a function; the source of one
            that was written in a notebook is kept in `<output>/rules/`.
        suite: quick, core or full, or the path of a suite's file.

    Raises: ContractError naming the laws that the rule breaks; ValueError for wrong parameters;
        InputError for a suite that is not there; RunError if a run fails.
    """
    trial = on_trial(rule, parameters, load_suite(suite), Path(output))
    return judge(trial, Path(output), Where(jobs=jobs or num_cores()))


def judge(trial: Trial, output: Path, where: Where, progress: Progress | None = None) -> Card:
    """The card of the rule that is on trial; see `evaluate`."""
    if violations := check_aggregator(trial.choice):
        raise ContractError(trial.shown, violations)
    suite = trial.suite
    servers = [suite.server(trial.choice.config()), *suite.references]
    labels = [trial.label, *texts([dict(server) for server in suite.references])]
    places = [trial.shown, *labels[1:]]
    stacks = [suite.cells(*one) for one in zip(servers, places, strict=True)]
    settings = Settings(output, default_source(), resume=True, wait=True)
    refuse_early(stacks[0], settings)
    outcomes = _play(stacks, settings, progress or Silence(), where)
    guess = guess_of(_first(outcomes).summary) or 0.0
    keys = keys_of(stacks[0])
    judged = [
        Judged(
            label,
            server,
            [measure(*one, output, guess) for one in zip(keys, stack, came, strict=True)],
        )
        for label, server, stack, came in zip(labels, servers, stacks, outcomes, strict=True)
    ]
    versions = RunFolder(_first(outcomes).path).environment()
    record = {
        **card_record(suite, *(judged[0], judged[1:]), random=is_random(trial.choice)),
        "rule": {"label": trial.label, **trial.config()},
        "assumptions": trial.assumptions(stacks[0]),
        "reported": list(REPORTED.get(trial.choice.name, ())),
        "command": trial.command,
        "fedsim": __version__,
        "versions": {key: versions.get(key) for key in VERSIONS},
    }
    return write_card(output / f"{trial.label}-{suite.name}", record)


def _play(
    stacks: Sequence[Sequence[Cell]], settings: Settings, progress: Progress, where: Where
) -> list[Outcomes]:
    """The outcome of every cell, the rule's first; the time to come is told after one of them."""
    cells = [cell for stack in stacks for cell in stack]
    before = _missing(cells, settings)
    if len(before) > 1:
        began = time.perf_counter()
        is_missing = (cell for cell in cells if folder_of(cell.scenario, settings.output) in before)
        play_cells([next(is_missing, cells[0])], settings, Silence(), Where(), _no_record)
        after = _missing(cells, settings)
        each = (time.perf_counter() - began) / max(1, len(before) - len(after))
        seconds = each * len(after) / where.jobs
        progress.message(f"{len(after)} runs to come: about {duration(seconds)}.")
    outcomes = play_cells(cells, settings, progress, where, _no_record)
    if lost := _lost_twins(cells, settings):
        play_cells(lost, settings, Silence(), where, _no_record)
    ends = [sum(map(len, stacks[: k + 1])) for k in range(len(stacks))]
    return [outcomes[end - len(stack) : end] for stack, end in zip(stacks, ends, strict=True)]


def _missing(cells: Sequence[Cell], settings: Settings) -> set[Path]:
    """The folders of the runs and clean twins that are still to be made."""
    runs = [*cells, *(twin_of(cell) for cell in cells)]
    folders = {folder_of(run.scenario, settings.output) for run in runs}
    return {folder for folder in folders if not RunFolder(folder).finished}


def _lost_twins(cells: Sequence[Cell], settings: Settings) -> list[Cell]:
    """The clean twins of finished cells that are not there any more."""

    def is_there(cell: Cell) -> bool:
        return RunFolder(folder_of(cell.scenario, settings.output)).finished

    twins = [twin_of(cell) for cell in cells if is_there(cell)]
    lost = {twin.scenario.hash8: twin for twin in twins if not is_there(twin)}
    return list(lost.values())


def _no_record(_: Outcomes) -> None:
    """The run folders say how far a card is."""


def _first(outcomes: Sequence[Outcomes]) -> Run:
    """A run that has finished."""
    every = [one for stack in outcomes for one in stack]
    run = next((one for one in every if isinstance(one, Run)), None)
    if run is None:
        raise RunError(f"no run of the suite has finished; the first failed: {every[0]}")
    return run
