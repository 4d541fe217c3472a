"""The score table on stdout."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

WIDTH_OF_A_FILE = 160


def print_table(entries: Sequence[tuple[Mapping[str, str], Mapping[str, Any]]]) -> None:
    """Print the scores of (labels, summary) pairs, in colour on a terminal, plain elsewhere."""
    from rich.console import Console

    from fedsim import reporting

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_FILE, no_color=True)
    with console.capture() as capture:  # rich would answer a closed pipe with exit code 1
        console.print(reporting.table(entries))
    click.echo("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))
