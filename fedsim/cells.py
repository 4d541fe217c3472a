"""Many cells: in turn, or several at a time, each in a process of its own."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from fedsim.errors import FedsimError, InputError
from fedsim.execution import Settings, folder_of, play, refuse_unfinished, twin_of
from fedsim.jobs import Jobs
from fedsim.progress import Planned, Progress, Silence, last_record
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

    A cell that fails does not keep the others from finishing. `record` is called before the first
    and after each. Raises: InputError if there is no Ray cluster where one is named.
    """
    plan = _Plan(cells, found(cells, settings), settings, progress, record)
    if where.ray is None and where.jobs == 1:
        _begin(plan)
        _in_turn(plan)
        return plan.outcomes
    with _crew(where, cells) as crew:
        _begin(plan)
        _at_once(plan, crew, _anywhere(settings) if where.ray else settings)
    return plan.outcomes


def _anywhere(settings: Settings) -> Settings:
    """The settings as they hold in any working directory of any machine that has our files."""
    source = replace(settings.source, root=settings.source.root.absolute())
    return replace(settings, output=settings.output.absolute(), source=source)


@dataclass(frozen=True)
class _Plan:
    """The cells, how far they are, and who hears of it."""

    cells: Sequence[Cell]
    outcomes: Outcomes
    settings: Settings
    progress: Progress
    record: Record


Work = list[tuple[int, Cell]]
"""Cells with their index."""

Task = tuple[Cell, Settings, int, int]


class _Crew(Protocol):
    """Who plays cells elsewhere, several at a time."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def results(
        self, tasks: Sequence[Task], begun: Callable[[int], None]
    ) -> Iterator[tuple[int, Run | str]]:
        """(position of the task, its run or why it failed), as they come."""


def _crew(where: Where, cells: Sequence[Cell]) -> _Crew:
    if where.ray is None:
        return Jobs(where.jobs, _play_alone)
    engines = [cell.scenario.engine for cell in cells]
    if any(engine.name == "ray" for engine in engines):
        text = "plays whole cells on the cluster, engine ray their clients. Take one of the two."
        raise InputError(f"--ray {where.ray}: {text}")

    from fedsim.flower.ray_cells import RayCells

    return RayCells(where.ray, _play_alone, max(engine.num_gpus for engine in engines))


def _begin(plan: _Plan) -> None:
    plan.progress.cells_planned([_planned(cell, plan.settings) for cell in plan.cells])
    plan.record(plan.outcomes)


def _planned(cell: Cell, settings: Settings) -> Planned:
    """What a listener may know of `cell` before it begins."""
    scenario, output = cell.scenario, settings.output
    twin = folder_of(scenario.twin(), output) if scenario.clean_twin else None
    return Planned(cell.labels, scenario.rounds, folder_of(scenario, output), twin)


def _in_turn(plan: _Plan) -> None:
    for index in range(len(plan.cells)):
        _play_here(plan, index)


def _play_here(plan: _Plan, index: int) -> None:
    """Play the cell, or show it if it is finished, in this process."""
    cell, count = plan.cells[index], len(plan.cells)
    plan.outcomes[index] = _attempt(cell, plan.settings, plan.progress, index, count)
    if isinstance(plan.outcomes[index], str):
        plan.progress.cell_finished(index, None, False)
    plan.record(plan.outcomes)


def _at_once(plan: _Plan, crew: _Crew, settings: Settings) -> None:
    """The cells that are not finished, several at a time; first the twins that they share."""
    todo = [(index, cell) for index, cell in enumerate(plan.cells) if plan.outcomes[index] is None]
    for index in sorted(set(range(len(plan.cells))) - {index for index, _ in todo}):
        _play_here(plan, index)
    quiet = replace(settings, force=False, resume=True)
    for _ in _given_out(plan, crew, _missing_twins(todo, plan.settings), quiet):
        pass  # a twin that fails fails again, and is told, with its cell
    for index, done in _given_out(plan, crew, todo, settings):
        folder = folder_of(plan.cells[index].scenario, plan.settings.output)
        plan.outcomes[index] = Run(folder) if isinstance(done, Run) else done
        plan.progress.cell_finished(index, done.summary if isinstance(done, Run) else None, False)
        plan.record(plan.outcomes)


def _missing_twins(todo: Work, settings: Settings) -> Work:
    """The clean twins that are yet to be made, each with the first cell that needs it."""
    twins = [(index, twin_of(cell)) for index, cell in todo if cell.scenario.clean_twin]
    firsts = {twin.scenario.hash8: (index, twin) for index, twin in reversed(twins)}
    return [
        (index, twin)
        for index, twin in reversed(firsts.values())
        if not RunFolder(folder_of(twin.scenario, settings.output)).finished
    ]


def _given_out(
    plan: _Plan, crew: _Crew, work: Work, settings: Settings
) -> Iterator[tuple[int, Run | str]]:
    """The result of each cell of `work`, with its index, as they come."""

    def begun(position: int) -> None:
        index, cell = work[position]
        folder = folder_of(cell.scenario, settings.output)
        last = None if settings.force else last_record(folder)
        done, rounds = last["round"] if last else 0, cell.scenario.rounds
        plan.progress.cell_started(index, len(plan.cells), cell.labels, rounds, done)

    tasks = [(cell, settings, index, len(plan.cells)) for index, cell in work]
    for position, result in crew.results(tasks, begun):
        yield work[position][0], result


def _play_alone(task: Task) -> Run | str:
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
