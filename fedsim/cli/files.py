"""Files that a command writes where the user says."""

from pathlib import Path

import click


def write_page(path: Path, text: str) -> None:
    """Write `text` to `path` and name it on stderr; InputError if it cannot be written."""
    from fedsim.errors import InputError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from error
    click.echo(path, err=True)
