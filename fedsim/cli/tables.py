"""Tables on stdout."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

WIDTH_OF_A_FILE = 160


def print_table(table: "RenderableType") -> None:
    """Print a rich table on stdout, in colour on a terminal, plain elsewhere."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_FILE, no_color=True)
    with console.capture() as capture:  # rich would answer a closed pipe with exit code 1
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))
