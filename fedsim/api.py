"""What scripts, notebooks and the command line call: run, sweep, load."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fedsim.cells import Outcomes, Where, play_cells, refuse_early
from fedsim.datasets import default_source
from fedsim.errors import RunError
from fedsim.execution import Settings, folder_of, play
from fedsim.preview import Preview, preview_cell
from fedsim.progress import Progress, Silence
from fedsim.reporting import report
from fedsim.results import Run, Sweep, load, write_sweep
from fedsim.results.files import writing
from fedsim.results.store import unwritable
from fedsim.scenario import Cell, Scenario, document, question_of, sweep_hash
from fedsim.scenario import load as load_scenario
from fedsim.scenario.overrides import Overrides, override

__all__ = ["Outcome", "execute", "load", "preview", "run", "sweep"]

Source = Path | str | Mapping[str, Any] | Scenario


@dataclass(frozen=True)
class Outcome:
    """The cells of one call in matrix order; a failed cell has no run and a line in `failures`."""

    runs: list[Run | None]
    labels: list[dict[str, str]]
    failures: list[tuple[dict[str, str], str]]
    sweep: Sweep | None
    report: Path


def run(source: Source, overrides: Overrides = (), output: Path | str = "runs") -> Run:
    """Run one cell (or show it, if it is finished; or go on, if it is not) and return it.

    Raises: ScenarioError for a wrong scenario, and for one with a matrix: that is `fedsim.sweep`'s.
    """
    cells = load_scenario(source, overrides)
    if cells[0].is_swept:
        text = f"has {len(cells)} cells; fedsim.run takes one. Use fedsim.sweep."
        raise document(source).error(("matrix",), text)
    settings = Settings(Path(output), default_source(), resume=True)
    finished = play(cells[0], settings, Silence())
    _write_report(finished, question_of(source))
    return finished


def sweep(source: Source, overrides: Overrides = (), output: Path | str = "runs") -> Sweep:
    """Run every cell of the matrix (one, if there is none) and return the sweep.

    Raises: RunError naming the cells that failed, after the others have finished.
    """
    outcome = execute(
        source, overrides, output=Path(output), resume=True, progress=Silence(), always_sweep=True
    )
    if outcome.failures or outcome.sweep is None:
        labels, text = outcome.failures[0]
        raise RunError(f"{len(outcome.failures)} cell(s) failed, the first {labels}: {text}")
    return outcome.sweep


def execute(  # noqa: PLR0913 (the options of `fedsim run`)
    source: Source,
    overrides: Overrides = (),
    *,
    output: Path,
    resume: bool = False,
    force: bool = False,
    where: Where = Where(),  # noqa: B008 (it is frozen)
    download: bool = False,
    progress: Progress | None = None,
    always_sweep: bool = False,
) -> Outcome:
    """Run all cells of a scenario and write the run folders, the sweep folder and the report.

    A wrong scenario raises before anything runs. A cell that fails while running does not keep the
    others from finishing.
    """
    told = progress or Silence()
    cells = load_scenario(source, overrides)
    settings = Settings(output, default_source(download=download), resume, force)
    if not (always_sweep or cells[0].is_swept):
        only = _play_one(cells[0], settings, told, where)
        return Outcome([only], [{}], [], None, _write_report(only, question_of(source)))
    refuse_early(cells, settings)
    record = _recorder(_sweep_writer(source, overrides, cells, output), cells, output)
    outcomes = play_cells(cells, settings, told, where, record)
    return _gather(cells, outcomes, record(outcomes), question_of(source))


def _play_one(cell: Cell, settings: Settings, progress: Progress, where: Where) -> Run:
    if where.ray is None:
        return play(cell, settings, progress)
    refuse_early([cell], settings)
    [done] = play_cells([cell], settings, progress, where, lambda _: None)
    if not isinstance(done, Run):
        raise RunError(done or "")
    return done


def _sweep_writer(
    source: Source, overrides: Overrides, cells: list[Cell], output: Path
) -> Callable[..., Sweep]:
    """`write_sweep` for this sweep, whose cells are still to be given."""
    digest, name = sweep_hash(cells), cells[0].scenario.name
    whole = override(document(source), overrides)
    path = output / f"{name}-sweep-{digest}"
    tree = _anchored(whole.tree, whole.folder)
    return partial(write_sweep, path, name=name, hash=digest, scenario=tree)


def _recorder(
    write: Callable[..., Sweep], cells: list[Cell], output: Path
) -> Callable[[Outcomes], Sweep]:
    """What writes down how far the sweep is, so that it can be resumed by its folder."""
    begun: list[Sweep] = []

    def record(outcomes: Outcomes) -> Sweep:
        entries = _entries(cells, outcomes, output)
        try:
            begun[:] = [write(cells=entries)]
        except OSError as error:
            if not begun:
                raise unwritable(output, error) from None
            with writing(output, "Go on with: --resume"):
                raise
        return begun[0]

    return record


def _entries(cells: list[Cell], outcomes: Outcomes, output: Path) -> list[dict[str, Any]]:
    """The cells of sweep.json."""
    return [
        {
            "labels": cell.labels,
            "run": folder_of(cell.scenario, output).name,
            "hash": cell.scenario.hash8,
            "status": _status(outcome),
            "error": outcome if isinstance(outcome, str) else None,
        }
        for cell, outcome in zip(cells, outcomes, strict=True)
    ]


def _status(outcome: Run | str | None) -> str:
    if outcome is None:
        return "unfinished"
    return "failed" if isinstance(outcome, str) else "finished"


def _gather(cells: list[Cell], outcomes: Outcomes, folder: Sweep, question: str) -> Outcome:
    labels = [cell.labels for cell in cells]
    failures = [
        (label, outcome)
        for label, outcome in zip(labels, outcomes, strict=True)
        if isinstance(outcome, str)
    ]
    page = _write_report(folder, question)
    runs = [outcome if isinstance(outcome, Run) else None for outcome in outcomes]
    return Outcome(runs, labels, failures, folder, page)


def _anchored(value: Any, folder: Path) -> Any:
    """The tree of a scenario with the files that it names made absolute, so that it can move."""
    if isinstance(value, list):
        return [_anchored(item, folder) for item in value]
    if not isinstance(value, dict):
        return value
    tree = {key: _anchored(item, folder) for key, item in value.items()}
    for key, text in tree.items():
        if isinstance(text, str) and (key == "weights" or (key == "name" and ".py:" in text)):
            tree[key] = str((folder / text).resolve())
    return tree


def _write_report(finished: Run | Sweep, question: str) -> Path:
    page = finished.path / "report.html"
    with writing(page, f"Write it with: fedsim report {finished.path}"):
        report(finished, page, question)
    return page


def preview(source: Source, overrides: Overrides = (), *, download: bool = False) -> Preview:
    """What the first cell of a scenario will do, before any round is run."""
    cells = load_scenario(source, overrides)
    shown = preview_cell(cells[0], question_of(source), download)
    if len(cells) == 1:
        return shown
    note = f"the first of {len(cells)} cells: " + ", ".join(map("=".join, cells[0].labels.items()))
    return Preview([note, *shown.lines], shown.html)
