"""`fedsim validate` and `fedsim preview`: look at a scenario before it runs."""

from pathlib import Path

import click

from fedsim.cli.exits import one_line
from fedsim.cli.files import written

SCENARIO = click.Path(path_type=Path)


@click.command()
@click.argument("scenarios", nargs=-1, required=True, type=SCENARIO, metavar="SCENARIO...")
def validate(scenarios: tuple[Path, ...]) -> None:
    """Check scenarios and their data without running them."""
    from fedsim.errors import FedsimError

    bad = False
    for path in scenarios:
        try:
            cells = _check(path)
        except FedsimError as error:
            click.echo(one_line(str(error)), err=True)
            bad = True
        else:
            click.echo(f"{path}: ok ({cells} cell{'s' if cells != 1 else ''})")
    if bad:
        raise click.exceptions.Exit(2)


def _check(path: Path) -> int:
    """The number of cells of a scenario that can run; raises what is wrong with the first bad."""
    from fedsim.datasets import default_source
    from fedsim.scenario import load
    from fedsim.simulation import prepare_cell

    cells = load(path)
    for cell in cells:
        prepare_cell(cell, default_source())
    return len(cells)


@click.command()
@click.argument("scenario", type=SCENARIO)
@click.option(
    "-o", "page", type=SCENARIO, metavar="FILE", help="Write a page with the pictures (HTML)."
)
def preview(scenario: Path, page: Path | None) -> None:
    """Show what a scenario will do: poisoned data, trigger, acting rounds, time.

    Without -o nothing is written; with it the page holds the pictures.
    """
    from fedsim import api

    shown = api.preview(scenario, [], download=False)
    for line in shown.lines:
        click.echo(line)
    if page:
        with written(page):
            page.write_text(shown.html, encoding="utf-8")
