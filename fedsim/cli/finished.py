"""`fedsim inspect` and `fedsim repair`: checks on a finished run, which stays as it is."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.files import written
from fedsim.cli.run import follow
from fedsim.cli.tables import print_table

if TYPE_CHECKING:
    from rich.table import Table

    from fedsim.simulation.after import Checked

run_folder = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
more_names = click.argument("more", nargs=-1, metavar="")
with_names = click.option(
    "--with",
    "names",
    multiple=True,
    required=True,
    metavar="NAME...",
    help="A check, or several in this order.",
)
set_parameters = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME.key=value",
    help="Set a parameter of a check; repeatable.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, no table.")


@click.command()
@run_folder
@more_names
@with_names
@set_parameters
@as_json
def inspect(
    run: Path,
    more: tuple[str, ...],
    names: tuple[str, ...],
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Ask inspections whether a finished run's model is backdoored, and what filters catch.

    NAME is an inspection or a filter, or a repair that comes before one.
    """
    found = _checked(run, [*names, *more], settings)
    _print([one.record for one in found], as_json)


@click.command()
@run_folder
@more_names
@with_names
@set_parameters
@click.option(
    "-o",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the repaired weights go (.safetensors); `model.weights` of a scenario takes them.",
)
@as_json
def repair(
    run: Path,
    more: tuple[str, ...],
    names: tuple[str, ...],
    settings: tuple[str, ...],
    file: Path,
    as_json: bool,
) -> None:
    """Repair a finished run's model, write its weights, and show the scores before and after.

    NAME is a repair, or an inspection whose trigger the next repair makes use of.
    """
    found = _checked(run, [*names, *more], settings, file)

    from fedsim.results import write_model

    with written(file):
        write_model(file, found[-1].model.state_dict())
    _print([one.record for one in found], as_json)


def _checked(
    run: Path, names: Sequence[str], settings: Sequence[str], file: Path | None = None
) -> "list[Checked]":
    from fedsim.errors import InputError
    from fedsim.finished import checked, open_run
    from fedsim.scenario.named import named_checks

    choices = named_checks(names, settings)
    if file is not None and not any(one.plugin.kind == "repairs" for one in choices):
        raise click.UsageError("--with: names no repair. `fedsim list repairs` shows them.")
    if file is not None and not file.resolve().parent.is_dir():
        raise InputError(f"{file}: cannot be written: its folder does not exist.")
    with follow(None) as listener:
        found = list(checked(open_run(run), choices))
        problems = [f"{run}: {one.problem}." for one in found if one.problem is not None]
        repairing = file is not None or all(one.plugin.kind == "repairs" for one in choices)
        useful = any(one.problem is None and one.repaired == repairing for one in found)
        told = problems if useful else problems[:-1]
        for problem in told:
            listener.message(problem)
        if not useful:
            raise InputError(problems[-1])
    return found


def _print(records: list[dict[str, Any]], as_json: bool) -> None:
    from fedsim.results.files import plain

    if as_json:
        click.echo(json.dumps(plain(records), indent=2))
    else:
        print_table(_table(records))


def _table(records: Sequence[dict[str, Any]]) -> "Table":
    """A line for each check."""
    from rich.table import Table

    from fedsim.reporting.after import COLUMNS, cells, filled

    header, rows = filled(COLUMNS, [cells([record]) for record in records])
    table = Table()
    for column in header:
        table.add_column(column, justify="left" if column in ("check", "verdict") else "right")
    for row in rows:
        table.add_row(*row)
    return table
