"""Folders that a command reads, and files that it writes where the user says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

run_or_sweep = click.argument(
    "folders",
    nargs=-1,
    required=True,
    type=click.Path(path_type=Path),
    metavar="RUN_OR_SWEEP...",
)
"""The folders of finished runs and sweeps, at least one."""


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Name `path` on stderr once it is written in the block; InputError if it cannot be."""
    from fedsim.errors import InputError

    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}.") from error
    click.echo(path, err=True)
