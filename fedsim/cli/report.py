"""`fedsim report`: one page about finished runs."""

from pathlib import Path

import click

from fedsim.cli.files import run_or_sweep, written
from fedsim.cli.tables import print_table


@click.command()
@run_or_sweep
@click.option(
    "-o",
    "page",
    type=click.Path(path_type=Path),
    metavar="page.html",
    help="Where to write it. By default report.html in the folder, or here if there are several.",
)
def report(folders: tuple[Path, ...], page: Path | None) -> None:
    """Write one page about runs and sweeps, and print the scores."""
    from fedsim import reporting
    from fedsim.reporting.labels import labelled
    from fedsim.results import Sweep, load

    sources = [load(folder) for folder in folders]
    page = page or (folders[0] if len(folders) == 1 else Path()) / "report.html"
    with written(page):
        reporting.report(sources, page)
    runs = [run for one in sources for run in (one.runs if isinstance(one, Sweep) else [one])]
    if runs:
        pairs = zip(labelled(runs), runs, strict=True)
        print_table(reporting.table([(labels, run.summary) for labels, run in pairs]))
