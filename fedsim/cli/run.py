"""`fedsim run` and `fedsim resume`: execute the cells of a scenario, then show their scores."""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fedsim.cli.exits import one_line
from fedsim.cli.progress import ConsoleProgress, LogLines, label_text
from fedsim.cli.tables import print_table
from fedsim.progress import Progress, Silence

if TYPE_CHECKING:
    from fedsim.api import Outcome

SHORTHANDS = {"--seed": "seed", "--engine": "engine.name", "--device": "engine.device"}
"""Options that are short for an override of this key."""


def _shorthand(context: click.Context, option: click.Parameter, value: object) -> None:
    if value is not None:
        context.meta.setdefault("shorthands", {})[option.opts[0]] = value


@click.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option(
    "--set", "overrides", multiple=True, metavar="key=value", help="Change one key; repeatable."
)
@click.option(
    "--seed", type=int, metavar="N", callback=_shorthand, expose_value=False, help="Set the seed."
)
@click.option(
    "--engine",
    type=click.Choice(["inprocess", "ray"]),
    callback=_shorthand,
    expose_value=False,
    help="Where clients train: in this process, or on Ray.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    callback=_shorthand,
    expose_value=False,
    help="What they train on.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    metavar="DIR",
    show_default=True,
    help="Folder of the run folders.",
)
@click.option("--resume", is_flag=True, help="Go on with an unfinished run.")
@click.option("--force", is_flag=True, help="Run anew what is there already.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    show_default=True,
    help="Cells of a sweep at a time.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Cells on this Ray cluster, or `auto`: as many at a time as it has CPUs. "
    "All its nodes must see the run folders and the data under the same paths.",
)
@click.option("--download", is_flag=True, help="Fetch missing data sets.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, no table.")
@click.option("-q", "--quiet", "volume", flag_value="quiet", help="Show no progress.")
@click.option("-v", "--verbose", "volume", flag_value="verbose", help="Tell of every round.")
@click.pass_context
def run(  # noqa: PLR0913  (an argument for every option)
    context: click.Context,
    scenario: Path,
    overrides: tuple[str, ...],
    output: Path,
    resume: bool,
    force: bool,
    jobs: int,
    ray: str | None,
    download: bool,
    as_json: bool,
    volume: str | None,
) -> None:
    """Run a scenario or its whole matrix and print the scores.

    A finished run is not run again: its scores are shown.
    """
    if ray is not None and jobs > 1:
        raise click.UsageError("--ray and --jobs: take one of the two.")
    shorthands: dict[str, object] = context.meta.get("shorthands", {})
    changes = [*overrides, *(f"{SHORTHANDS[name]}={value}" for name, value in shorthands.items())]

    from fedsim import api
    from fedsim.cells import Where

    with _placed(shorthands), follow(volume) as progress, redirect_stdout(sys.stderr):
        outcome = api.execute(
            scenario,
            changes,
            output=output,
            resume=resume,
            force=force,
            where=Where(jobs, ray),
            download=download,
            progress=progress,
        )
    _finish(outcome, as_json=as_json, quiet=volume == "quiet")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def resume(run: Path) -> None:
    """Go on with the unfinished run, or sweep, in the folder RUN."""
    from fedsim import api
    from fedsim.errors import InputError
    from fedsim.results import Sweep

    source: Path | dict[str, object] = run / "scenario.yaml"
    if os.path.isfile(run / "sweep.json"):
        source = Sweep(run).scenario
    elif not os.path.isfile(run / "scenario.yaml"):
        raise InputError(f"{run}: not the folder of a run: it has no scenario.yaml.")
    else:
        _refuse_another(run)
    output = run.resolve().parent
    with follow(None) as progress, redirect_stdout(sys.stderr):
        outcome = api.execute(source, [], output=output, resume=True, progress=progress)
    _finish(outcome, as_json=False, quiet=False)


def _refuse_another(run: Path) -> None:
    """A folder whose scenario would run elsewhere now (renamed; a file it rests on has changed)."""
    from fedsim.errors import InputError
    from fedsim.execution import folder_of
    from fedsim.scenario import load

    [cell] = load(run / "scenario.yaml")
    expected = folder_of(cell.scenario, run.resolve().parent)
    if expected != run.resolve():
        text = f"its scenario is that of {expected.name}: the folder or a file was changed."
        raise InputError(f"{run}: {text} Rename it, or run the scenario anew.")


@contextmanager
def follow(volume: str | None) -> Iterator[Progress]:
    """The listener of a run, which hears fedsim's log too."""
    console = None if volume == "quiet" else ConsoleProgress(verbose=volume == "verbose")
    listener: Progress = console or Silence()
    debug = click.get_current_context().meta.get("debug", False)
    handler, log = LogLines(listener, debug=debug), logging.getLogger("fedsim")
    log.addHandler(handler)
    try:
        with console or nullcontext():
            yield listener
    finally:
        log.removeHandler(handler)


@contextmanager
def _placed(shorthands: Mapping[str, object]) -> Iterator[None]:
    """Tell an error in the override that an option stands for at the option itself."""
    from fedsim.errors import ScenarioError

    try:
        yield
    except ScenarioError as error:
        text = str(error)
        for option, value in shorthands.items():
            place = f"--set {SHORTHANDS[option]}={value}:"
            text = text.replace(place, f"{option} {value}:", 1) if text.startswith(place) else text
        raise ScenarioError(text) from error


def _finish(outcome: "Outcome", *, as_json: bool, quiet: bool) -> None:
    """Print what has been measured; exit 3 if a cell has failed."""
    from fedsim import reporting

    place = click.get_current_context().command_path
    cells = list(zip(outcome.labels, outcome.runs, strict=True))
    if as_json:
        summaries = [run.summary if run else None for run in outcome.runs]
        click.echo(json.dumps(summaries if outcome.sweep else summaries[0], indent=2))
    elif entries := [(labels, run.summary) for labels, run in cells if run]:
        print_table(reporting.table(entries))
    if not quiet:
        for path in [*(run.path for run in outcome.runs if run), outcome.report]:
            click.echo(path, err=True)
    for labels, text in outcome.failures:
        cell = f"cell {label_text(labels)} failed" if labels else "failed"
        click.echo(f"{place}: {cell}: {one_line(text)}", err=True)
    if outcome.failures:
        raise click.exceptions.Exit(3)
