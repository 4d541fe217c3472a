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

    # In the table rich would break the caption at the width of the columns.
    caption, table.caption = table.caption, None
    console = Console(no_color=None if sys.stdout.isatty() else True)
    width = console.width if sys.stdout.isatty() else WIDTH_OF_A_FILE
    console.width = max(width, Console(width=1000).measure(table).minimum)  # else columns are lost
    with console.capture() as capture:  # rich would answer a closed pipe with exit code 1
        console.print(table)
        if caption:
            console.print(caption, width=width)
    click.echo("\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines()))
