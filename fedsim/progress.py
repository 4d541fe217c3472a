"""What a run tells while it runs, to whoever listens."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Planned:
    """A cell of a sweep: its rounds, and the folders of its run and of its clean twin's."""

    labels: Mapping[str, str]
    rounds: int
    folder: Path
    twin: Path | None


TAIL = 4096
"""Bytes that hold the last line of any rounds.jsonl, and some before it."""


def last_record(folder: Path) -> Mapping[str, Any] | None:
    """The last whole line of the rounds.jsonl in `folder`, written by whatever process, if any."""
    with suppress(OSError, ValueError), (folder / "rounds.jsonl").open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
        lines = file.read().split(b"\n")[:-1]
        record = json.loads(lines[-1]) if lines else None
        return record if isinstance(record, dict) and "round" in record else None
    return None


class Progress(Protocol):
    """A listener. All calls come from the process that started the run."""

    def cells_planned(self, cells: Sequence[Planned]) -> None:
        """All cells, before the first begins; a run in this process alone has no such call."""

    def cell_started(
        self, index: int, count: int, labels: Mapping[str, str], rounds: int, done_rounds: int
    ) -> None:
        """Cell `index` of `count` (from 0) begins: `done_rounds` of its `rounds` are there."""

    def round_done(self, record: Mapping[str, Any]) -> None:
        """A round was closed; `record` has the keys of a line of rounds.jsonl."""

    def cell_finished(self, index: int, summary: Mapping[str, Any] | None, reused: bool) -> None:
        """Cell `index` is finished (`reused`: it was before); without a summary it has failed."""

    def message(self, text: str) -> None:
        """Something to read now, in one line."""


class Silence:
    """A listener that says nothing."""

    def cells_planned(self, cells: Sequence[Planned]) -> None:
        """Say nothing."""

    def cell_started(
        self, index: int, count: int, labels: Mapping[str, str], rounds: int, done_rounds: int
    ) -> None:
        """Say nothing."""

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Say nothing."""

    def cell_finished(self, index: int, summary: Mapping[str, Any] | None, reused: bool) -> None:
        """Say nothing."""

    def message(self, text: str) -> None:
        """Say nothing."""
