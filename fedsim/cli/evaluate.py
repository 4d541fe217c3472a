"""`fedsim evaluate` and `fedsim leaderboard`: score cards of aggregation rules."""

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedsim.cli.files import written
from fedsim.cli.run import follow
from fedsim.cli.tables import print_table

if TYPE_CHECKING:
    from rich.table import Table

    from fedsim.evaluation import Card

PAGES = (".html", ".md")


@click.command()
@click.argument("rule", metavar="RULE")
@click.option(
    *("--set", "changes"),
    multiple=True,
    metavar="key=value",
    help="A parameter of the rule, or else a key of the suite's scenarios; repeatable.",
)
@click.option(
    "--suite",
    default="quick",
    show_default=True,
    metavar="quick|core|full|PATH",
    help="Which attacks: minutes, hours, or days on two cores.",
)
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Runs at a time.")
@click.option("--ray", metavar="ADDRESS", help="Play the runs on this Ray cluster.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    metavar="DIR",
    show_default=True,
    help="Folder of the run folders and cards.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON, no table.")
def evaluate(
    rule: str,
    changes: tuple[str, ...],
    suite: str,
    jobs: int | None,
    ray: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Put RULE in front of every attack of a suite and print its score card.

    RULE is a name (`fedsim list aggregators`) or file.py:function. Runs that are there already are
    not run again; without --jobs as many run at a time as there are cores.
    """
    if jobs and ray:
        raise click.UsageError("--jobs and --ray exclude one another.")

    from fedsim.cells import Where
    from fedsim.judging import ContractError, judge
    from fedsim.spawning import num_cores

    where = Where(ray=ray) if ray else Where(jobs=jobs or num_cores())
    try:
        with follow(None) as progress, redirect_stdout(sys.stderr):
            card = judge(_trial(rule, changes, suite, output), output, where, progress)
    except ContractError as error:
        for line in str(error).splitlines():
            click.echo(line, err=True)
        raise click.exceptions.Exit(2) from None
    if as_json:
        click.echo(json.dumps(card.record, indent=2))
    else:
        _print(card)
    click.echo(card.path / "card.html", err=True)


@click.command()
@click.argument(
    "cards", nargs=-1, required=True, metavar="CARD...", type=click.Path(path_type=Path)
)
@click.option(
    *("-o", "page"),
    type=click.Path(path_type=Path),
    metavar="page.html",
    help="Write the ranking as a page, or as Markdown (.md).",
)
def leaderboard(cards: tuple[Path, ...], page: Path | None) -> None:
    """Rank score cards: the folders that `fedsim evaluate` wrote, or the card.json in them."""
    if page is not None and page.suffix.lower() not in PAGES:
        raise click.UsageError(f"-o: '{page}' must end in one of {', '.join(PAGES)}.")

    from fedsim.evaluation import load_card, ranked
    from fedsim.evaluation.leaderboard import HEADER, html, markdown
    from fedsim.results.files import replace_file

    rankings = ranked([load_card(card) for card in cards])
    for ranking in rankings:
        body = [row[: len(HEADER) - 1] for row in ranking.body]
        print_table(_table(HEADER[:-1], body, f"suite {ranking.suite} ({ranking.hash})"))
    if page is not None:
        text = html(rankings) if page.suffix.lower() == ".html" else markdown(rankings)
        with written(page):
            replace_file(page, text.encode(errors="replace"))


def _trial(rule: str, changes: Sequence[str], suite: str, output: Path) -> Any:
    """The rule and suite that the command names; each change goes to the one that knows its key."""
    from fedsim.aggregators import aggregators
    from fedsim.errors import InputError
    from fedsim.evaluation import load_suite
    from fedsim.scenario.overrides import pairs
    from fedsim.trial import on_trial

    try:
        fields = aggregators.get(rule).parameters.model_fields
        given = {key: value for key, value, _ in pairs(changes)}
        own = {key: value for key, value in given.items() if key in fields}
        others = {key: value for key, value in given.items() if key not in fields}
        _refuse_unknown(list(others), list(fields), rule)
        return on_trial(rule, own, load_suite(suite, others), output)
    except ValueError as error:
        raise InputError(f"fedsim evaluate {rule}: {error}") from None


def _refuse_unknown(keys: Sequence[str], fields: list[str], rule: str) -> None:
    """A change that is neither a parameter of the rule nor a key of a scenario."""
    from fedsim.errors import InputError, suggest
    from fedsim.scenario import Scenario

    known = {*Scenario.model_fields, "matrix"}
    for key in keys:
        if key.split(".")[0] not in known:
            near = suggest(key, fields)
            raise InputError(f"--set {key}: is neither a parameter of '{rule}' nor a key. {near}")


def _print(card: "Card") -> None:
    """Plain words first, the numbers under them."""
    from fedsim.evaluation import words

    for sentence in card.story:
        click.echo(sentence)
    for flag in card.flags:
        click.echo(f"! {flag['flag'].replace('_', ' ')}: {flag['text']}")
    click.echo()
    header, body = words.columns_with_numbers(words.HEADER, words.attack_grid(card.record))
    print_table(_table(header, body, ""))
    click.echo()
    print_table(_table(words.COMPARED, words.comparison(card.record), ""))


def _table(header: Sequence[str], body: Sequence[Sequence[str]], title: str) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title or None)
    for k, name in enumerate(header):
        is_number = k > 0 and all(not cell[:1].isalpha() for cell in (row[k] for row in body))
        table.add_column(Text(name), justify="right" if is_number else "left")
    for row in body:
        table.add_row(*map(Text, row))
    return table
