"""`fedsim bench`: what fedsim costs on this machine, against what plain PyTorch would."""

import json
import sys
from collections.abc import Callable
from typing import Any

import click

from fedsim.cli.tables import print_table

PARTS = ("train", "engines", "aggregators", "round")


@click.command()
@click.argument("what", type=click.Choice([*PARTS, "all"]), default="all")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON, no table.")
@click.option("--full", is_flag=True, help="Measure the largest too (engines, aggregators).")
def bench(what: str, as_json: bool, full: bool) -> None:
    """Measure what fedsim costs here, against the least that it could cost, in the same run.

    train: a round against a bare PyTorch loop. engines: clients a second, start-up and memory of
    each engine. aggregators: each rule against its floor. round: where a run's time goes.
    """
    parts: dict[str, Callable[[], tuple[Any, Any]]] = {
        "train": _train,
        "engines": lambda: _engines(full),
        "aggregators": lambda: _aggregators(full),
        "round": _round,
    }
    measured = {}
    for name, part in parts.items():
        if what in (name, "all"):
            measured[name], table = part()
            if not as_json:
                print_table(table)
    if as_json:
        click.echo(json.dumps(measured if what == "all" else measured[what], indent=2))


def _train() -> tuple[Any, Any]:
    from fedsim.bench import train

    measured = train.measure()
    return measured, train.table(measured)


def _engines(full: bool) -> tuple[Any, Any]:
    from fedsim.bench import engines
    from fedsim.bench.machine import machine

    facts, rows = machine(), []
    for row in engines.measure(full=full):
        rows.append(row)
        _tell(f"{row['model']:12} {row['clients']:>6,} clients")
    _tell("")
    measured = engines.measurement(rows, facts)
    return measured, engines.table(measured)


def _aggregators(full: bool) -> tuple[Any, Any]:
    from fedsim.bench import aggregators

    cells = []
    for cell in aggregators.measure(full=full):
        cells.append(cell)
        _tell(f"{cell['rule']:24} {cell['n']:>5} × {cell['d']:<12,}")
    _tell("")
    return cells, aggregators.table(cells)


def _round() -> tuple[Any, Any]:
    from fedsim.bench import round

    measured = round.measure()
    return measured, round.table(measured)


def _tell(text: str) -> None:
    """What was measured last, on a terminal, over what stood there."""
    if sys.stderr.isatty():
        click.echo(f"\r{text:50}\r", nl=False, err=True)
