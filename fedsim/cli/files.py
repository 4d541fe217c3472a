"""Files that a command writes where the user says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Name `path` on stderr once it is written in the block; InputError if it cannot be."""
    from fedsim.errors import InputError

    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from error
    click.echo(path, err=True)
