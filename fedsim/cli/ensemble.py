"""`fedsim ensemble`: finished runs that vote."""

import json
from pathlib import Path
from typing import Any

import click

from fedsim.cli.tables import print_table


@click.command()
@click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN RUN RUN..."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, no table.")
def ensemble(runs: tuple[Path, ...], as_json: bool) -> None:
    """Let finished runs vote, and score each of them and the majority.

    Attack success is that on each run's own probe: how far its own attack gets with its model,
    and with all of them together. Equal votes go to the lowest class.
    """
    from fedsim.ensemble import ensemble as vote

    found = vote(runs)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    from rich.table import Table

    from fedsim.reporting.words import percent

    table = Table()
    for column in ("run", "accuracy %", "ASR %", "ASR % of the vote"):
        table.add_column(column, justify="left" if column == "run" else "right")
    for run in found["runs"]:
        keys = ("accuracy", "attack_success_rate", "ensemble_attack_success_rate")
        table.add_row(run["run"], *(percent(run[key]) for key in keys))
    vote = found["ensemble"]
    success = percent(vote["attack_success_rate"])
    table.add_row("majority vote", percent(vote["accuracy"]), success, success)
    print_table(table)
