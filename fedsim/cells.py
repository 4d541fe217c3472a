"""Many cells: in turn, or several at a time, each in a process of its own."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from fedsim.errors import FedsimError
from fedsim.execution import Settings, folder_of, play, refuse_unfinished, twin_of
from fedsim.jobs import DIED, Jobs
from fedsim.progress import Planned, Progress, Silence
from fedsim.results import Run, RunFolder
from fedsim.scenario import Cell
from fedsim.simulation import prepare_cell

log = logging.getLogger("fedsim")

Outcomes = list[Run | str | None]
"""For each cell the finished run, or why it failed, or None before its end."""

Record = Callable[[Outcomes], object]
"""Writes down how far the cells are."""


@dataclass(frozen=True)
class Where:
    """Where cells are played: in this process; in `jobs` of their own; on the Ray cluster `ray`."""

    jobs: int = 1
    ray: str | None = None


def refuse_early(cells: Sequence[Cell], settings: Settings) -> None:
    """What is wrong with the input is told before the first cell runs, not after the last.

    Raises: ScenarioError, InputError as `play` does.
    """
    for cell in cells:
        folder = RunFolder(folder_of(cell.scenario, settings.output))
        if settings.force or not folder.finished:
            refuse_unfinished(folder, settings)
            prepare_cell(cell, settings.source)


def found(cells: Sequence[Cell], settings: Settings) -> Outcomes:
    """The runs that are finished already and stay; None for the other cells."""
    folders = [RunFolder(folder_of(cell.scenario, settings.output)) for cell in cells]
    return [
        Run(folder.path) if folder.finished and not settings.force else None for folder in folders
    ]


def play_cells(
    cells: Sequence[Cell], settings: Settings, progress: Progress, where: Where, record: Record
) -> Outcomes:
    """Play `cells`, some of them perhaps finished; the run of each, or the line why it failed.

    A cell that fails does not keep the others from finishing. `record` is called after each.
    """
    outcomes = found(cells, settings)
    progress.cells_planned([_planned(cell, settings) for cell in cells])
    play_all = _in_turn if where.jobs == 1 else partial(_at_once, jobs=where.jobs)
    play_all(cells, outcomes, settings, progress, record)
    return outcomes


def _planned(cell: Cell, settings: Settings) -> Planned:
    """What a listener may know of `cell` before it begins."""
    scenario, output = cell.scenario, settings.output
    twin = folder_of(scenario.twin(), output) if scenario.clean_twin else None
    return Planned(cell.labels, scenario.rounds, folder_of(scenario, output), twin)


def _in_turn(
    cells: Sequence[Cell],
    outcomes: Outcomes,
    settings: Settings,
    progress: Progress,
    record: Record,
) -> None:
    for index, cell in enumerate(cells):
        outcomes[index] = _attempt(cell, settings, progress, index, len(cells))
        if isinstance(outcomes[index], str):
            progress.cell_finished(index, None, False)
        record(outcomes)


def _at_once(
    cells: Sequence[Cell],
    outcomes: Outcomes,
    settings: Settings,
    progress: Progress,
    record: Record,
    jobs: int,
) -> None:
    """Several cells at a time, each in a process of its own; first the twins that cells share."""
    wanted = [twin_of(cell) for cell in cells if cell.scenario.clean_twin]
    twins = list({twin.scenario.hash8: twin for twin in wanted}.values())
    quiet = replace(settings, force=False, resume=True)
    with Jobs(jobs, _play_alone) as at_work:
        for _ in at_work.results([(twin, quiet, 0, 1) for twin in twins]):
            pass  # a twin that fails fails again, and is told, with its cell
        tasks = [(cell, settings, index, len(cells)) for index, cell in enumerate(cells)]
        for index, done in at_work.results(tasks):
            rounds, labels = cells[index].scenario.rounds, cells[index].labels
            progress.cell_started(index, len(cells), labels, rounds, 0)
            outcomes[index] = done or f"{DIED}. Go on with: --resume"
            progress.cell_finished(index, done.summary if isinstance(done, Run) else None, False)
            record(outcomes)


def _play_alone(task: tuple[Cell, Settings, int, int]) -> Run | str:
    cell, settings, index, count = task
    return _attempt(cell, settings, Silence(), index, count)


def _attempt(
    cell: Cell, settings: Settings, progress: Progress, index: int, count: int
) -> Run | str:
    """The finished run of `cell`, or the line that says why it failed."""
    try:
        return play(cell, settings, progress, index, count)
    except FedsimError as error:
        return str(error)
    except Exception as error:
        log.exception("cell %d failed", index + 1)
        return f"{type(error).__name__}: {error}"
