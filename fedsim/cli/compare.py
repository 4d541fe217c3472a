"""`fedsim compare`: runs side by side, and why they differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.files import run_or_sweep, written
from fedsim.cli.tables import print_table

if TYPE_CHECKING:
    from fedsim.results import Run
    from fedsim.results.differences import Difference

PICTURES = (".svg", ".png", ".pdf")
TEXTS = (".md", ".csv", ".tex")


def _ending(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in PICTURES + TEXTS:
        known = ", ".join(PICTURES + TEXTS)
        raise click.BadParameter(f"'{path}' must end in one of {known}.", context, option)
    return path


@click.command()
@run_or_sweep
@click.option(
    "-o",
    "output",
    type=click.Path(path_type=Path),
    callback=_ending,
    metavar="file",
    help="Write a heat map of rules by attacks, or curves where there is one of each (.svg, .png, "
    ".pdf), or the tables (.md, .csv, .tex).",
)
def compare(folders: tuple[Path, ...], output: Path | None) -> None:
    """Print the scores side by side, and in what each run named differs from the first.

    Told are the keys of the scenarios and of the environments that differ, and the first record.
    """
    from fedsim import reporting
    from fedsim.reporting.labels import labelled
    from fedsim.results import Run, Sweep, load

    sources = [load(folder) for folder in folders]
    named = [one for one in sources if isinstance(one, Run)]
    runs = [run for one in sources for run in (one.runs if isinstance(one, Sweep) else [one])]
    runs = _told_apart(runs) if len(named) == len(sources) else runs
    pairs = zip(labelled(runs), runs, strict=True)
    entries = [(labels, run.summary) for labels, run in pairs]
    if entries:
        print_table(reporting.table(entries))
    told = [_Comparison(named[0], other) for other in named[1:]]
    for one in told:
        click.echo(f"\n{one.title}: {one.verdict}")
        if one.found:
            print_table(one.table())
    if output is not None:
        with written(output):
            _write(output, runs, entries, told)


def _told_apart(runs: Sequence["Run"]) -> list["Run"]:
    """The runs, by their folders where nothing but the seed, or nothing at all, tells them."""
    from fedsim.reporting.labels import labelled, without_seed
    from fedsim.results import Run

    labels = labelled(runs)
    if len({tuple(without_seed(one).items()) for one in labels}) == len(runs):
        return list(runs)
    return [
        Run(run.path, {"run": str(run.path), **{k: v for k, v in one.items() if k != "run"}})
        for run, one in zip(runs, labels, strict=True)
    ]


class _Comparison:
    """A run against the first."""

    def __init__(self, left: "Run", right: "Run") -> None:
        from fedsim.results.differences import differences, number_differences

        self.title = f"{left.path} and {right.path}"
        self.found: list[Difference] = differences(left, right)
        self.same_numbers = not number_differences(left, right)

    @property
    def verdict(self) -> str:
        """What the differences come to, in a sentence."""
        if not self.found:
            return "equal in everything but times."
        if self.same_numbers:
            return "the numbers are equal; these differ:"
        if all(one.where.startswith(("round", "summary")) for one in self.found):
            return "nothing that was recorded tells why the numbers differ:"
        return "these differ, and the numbers from the first record shown:"

    def table(self) -> Any:
        """The differences for the terminal."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for title, width in (("where", None), ("key", None), ("left", 48), ("right", 48)):
            table.add_column(Text(title), overflow="fold", max_width=width)
        for one in self.found:
            table.add_row(*map(Text, one))
        return table

    def markdown(self) -> str:
        """The differences for a page."""
        lines = [["where", "key", "left", "right"], ["---"] * 4, *self.found]
        cells = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
        listed = "\n".join(f"| {line} |" for line in cells) if self.found else ""
        return f"\n{self.title}: {self.verdict}\n\n{listed}".rstrip() + "\n"


def _write(
    path: Path, runs: Sequence["Run"], entries: Sequence[Any], told: Sequence[_Comparison]
) -> None:
    from fedsim import reporting
    from fedsim.results.files import replace_file

    kind, crossing = path.suffix.lower(), reporting.cross(runs)
    if kind in PICTURES:
        drawing = reporting.heatmap(crossing) if crossing else reporting.figure(runs)
        reporting.save(drawing, path)
        return
    if crossing and kind == ".csv":
        pairs = zip(entries, runs, strict=True)
        entries = [
            ({**crossing.labels(run), **labels}, summary) for (labels, summary), run in pairs
        ]
    text = {".md": reporting.markdown, ".csv": reporting.csv, ".tex": reporting.latex}[kind]
    page = text(entries)
    if crossing and kind != ".csv":
        page = reporting.crossed(crossing, tex=kind == ".tex") + "\n" + page
    if kind == ".md":
        page += "".join(one.markdown() for one in told)
    replace_file(path, page.encode())
