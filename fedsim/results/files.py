"""Files that are written whole or not at all, and JSON without NaN and infinity."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsim.errors import InputError, RunError

Record = dict[str, Any]
"""A line of rounds.jsonl or clients.jsonl, or an object of another JSON file."""


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put `data` at `path` so that a kill leaves either the old file or the new one.

    If it is `durable`, so does a loss of power.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path, way_on: str) -> Iterator[None]:
    """Tell in one line what keeps `path` from being written in the block (RunError), and a way on.

    A full disk, or one that has become read-only, takes nothing that was written before.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        text = f"cannot be written: {reason}. What was there before is intact. {way_on}"
        raise RunError(f"{path}: {text}") from error


def plain(value: object) -> Any:
    """`value` for JSON: NaN and ±infinity become None, keys text, tuples lists.

    >>> plain({"loss": float("inf"), "at": {10: 0.5}})
    {'loss': None, 'at': {'10': 0.5}}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def json_line(record: Mapping[str, Any]) -> bytes:
    """`record` as one line of a .jsonl file, ASCII, newline included."""
    return json.dumps(plain(record), allow_nan=False).encode() + b"\n"


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """`value` as an indented JSON file, written atomically."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    replace_file(path, text.encode() + b"\n")


def read_bytes(path: Path) -> bytes:
    """The bytes of `path`; InputError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None


def read_json(path: Path) -> Record:
    """The object in the JSON file `path`; InputError if there is none."""
    return _object(read_bytes(path), f"{path}")


def read_lines(path: Path, whole: bool = True) -> list[Record]:
    """The objects of the .jsonl file `path`, each with its integer `round`.

    A last line without its newline was cut off by a kill: it is left out unless `whole`.
    """
    return [record for record, _ in parsed_lines(path, whole)]


def parsed_lines(path: Path, whole: bool) -> list[tuple[Record, bytes]]:
    """As `read_lines`, each object with the bytes it was read from."""
    *lines, rest = read_bytes(path).split(b"\n")
    if rest and whole:
        lines.append(rest)
    return [(_record(line, f"{path}: line {n}"), line) for n, line in enumerate(lines, start=1)]


def _record(text: bytes, place: str) -> Record:
    record = _object(text, place)
    if type(record.get("round")) is not int:
        raise InputError(f"{place}: is not a record: it has no whole number 'round'.")
    return record


def _object(text: bytes, place: str) -> Record:
    try:
        value = json.loads(text.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InputError(f"{place}: is not valid JSON; the file is damaged.") from None
    if not isinstance(value, dict):
        raise InputError(f"{place}: is not a JSON object but a {type(value).__name__}.")
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
