"""Tables on stdout."""

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_OF_A_FILE = 160


def print_table(table: "Table") -> None:
    """Print `table` on stdout, in colour on a terminal, plain elsewhere; its caption below it."""
    from rich.console import Console

    console = Console() if sys.stdout.isatty() else Console(width=WIDTH_OF_A_FILE, no_color=True)
    # In the table rich would break the caption at the width of the columns.
    caption, table.caption = table.caption, None
    with console.capture() as capture:  # rich would answer a closed pipe with exit code 1
        console.print(table)
        if caption:
            console.print(caption)
    click.echo("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))
