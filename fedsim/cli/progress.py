"""What a run tells while it runs: a bar on a terminal, now and then a line elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import click

from fedsim.cli.live_table import LiveTable
from fedsim.progress import Planned, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.progress import Progress as Bar

REDRAWS = 2.0
"""Drawings of the table in a second."""

SECONDS_BETWEEN_LINES = 5.0


class ConsoleProgress:
    """Tells on stderr how far all cells are; with `verbose` a line for every round."""

    def __init__(
        self, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.verbose, self.clock = verbose, clock
        self.index, self.count, self.labels = 0, 1, ""
        self.rounds = self.round = 0
        self.names: dict[int, str] = {}
        self.todo: dict[int, int] = {}
        self.finished: set[int] = set()
        self.trained, self.began, self.spoke = 0, clock(), float("-inf")
        self.scores: Mapping[str, Any] = {}
        self.bar: Bar | None = None
        self.table: LiveTable | None = None
        self.live: Live | None = None

    def __enter__(self) -> Self:
        if is_live():
            self.bar = _bar()
            self.bar.start()
            self.bar.add_task("", total=None, text="starting")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()
        if self.bar:
            self.bar.stop()

    def cells_planned(self, cells: Sequence[Planned]) -> None:
        """On a terminal, put a table of all of them in the place of the bar."""
        self.count = len(cells)
        if self.bar:
            self.bar.stop()
            self.table = LiveTable(cells, self.clock)
            self.live = _live(self.table, self.bar.console)
            self.live.start()

    def cell_started(
        self, index: int, count: int, labels: Mapping[str, str], rounds: int, done_rounds: int
    ) -> None:
        """Remember where the cell stands."""
        self.index, self.count, self.rounds, self.round = index, count, rounds, done_rounds
        self.labels = self.names[index] = label_text(labels)
        # A cell begins once more after its clean twin.
        self.todo[index] = self.todo.get(index, 0) + rounds - done_rounds
        if self.table:
            self.table.cell_started(index, labels, rounds, done_rounds)
        self._show()

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Show the round and its scores; a round that was not evaluated keeps the last ones."""
        self.round = record["round"]
        if record["round"] > 0:
            self.trained += 1
        if record["accuracy"] is not None:
            self.scores = record
        if self.table:
            self.table.round_done(record)
        self._show()
        self._speak()

    def cell_finished(self, index: int, summary: Mapping[str, Any] | None, reused: bool) -> None:
        """Count the cell, which need not be the one that began last."""
        if self.table:
            self.table.cell_finished(index, summary, reused)
        if index != self.index:
            self.index, self.labels = index, self.names.get(index, "")
            self.scores, self.round = summary or {}, self.rounds
        self.finished.add(index)
        self.todo.setdefault(index, 0)
        self.trained = max(self.trained, sum(self.todo[done] for done in self.finished))
        self._show()
        if self.count > 1:
            self._speak()

    def message(self, text: str) -> None:
        """Print the line, above the bar if there is one."""
        self._print(text)

    def text(self) -> str:
        """How far it is, in one line."""
        cell = f"cell {self.index + 1}/{self.count}" if self.count > 1 else ""
        named = f"{cell} ({self.labels})" if cell and self.labels else cell
        scores = (
            ("accuracy", self.scores.get("accuracy")),
            ("attack success", self.scores.get("attack_success_rate")),
        )
        shares = [f"{name} {value:.1%}" for name, value in scores if value is not None]
        parts = [named, f"round {self.round}/{self.rounds}", *shares, self._left()]
        return ", ".join(part for part in parts if part)

    def _left(self) -> str:
        """The time that the rounds to come take if they go like those so far."""
        left = self._total() - self.trained
        if not self.trained or left <= 0:
            return ""
        seconds = (self.clock() - self.began) / self.trained * left
        return f"{timedelta(seconds=round(seconds))} left"

    def _total(self) -> int:
        """The rounds to train in this call; a cell not yet begun is taken to be like this one."""
        unknown = self.count - len(self.todo)
        each = max(self.todo.values(), default=self.rounds)
        return sum(self.todo.values()) + max(unknown, 0) * each

    def _show(self) -> None:
        if self.bar and not self.live:
            task = self.bar.task_ids[0]
            self.bar.update(task, completed=self.trained, total=self._total(), text=self.text())

    def _speak(self) -> None:
        now = self.clock()
        is_due = self.verbose or (not self.bar and now - self.spoke >= SECONDS_BETWEEN_LINES)
        if is_due:
            self.spoke = now
            self._print(self.text())

    def _print(self, text: str) -> None:
        if self.bar:
            self.bar.console.print(text, markup=False, highlight=False)
            return
        try:
            click.echo(text, err=True)
        except BrokenPipeError:  # nobody reads it; that must not stop a run
            self.spoke = float("inf")


class LogLines(logging.Handler):
    """Tells fedsim's warnings, and what it starts up, as messages of a run; all with `debug`."""

    def __init__(self, progress: Progress, *, debug: bool) -> None:
        super().__init__()
        self.progress, self.debug = progress, debug

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to tell `record`. Starting up takes a while, and looks like a run that hangs."""
        return self.debug or record.levelno >= logging.WARNING or record.name == "fedsim.start"

    def emit(self, record: logging.LogRecord) -> None:
        """Tell `record` in a line."""
        self.progress.message(self.format(record) if self.debug else record.getMessage())


def is_live() -> bool:
    """Whether stderr is a terminal that can redraw a line, and not the log of a CI."""
    is_dumb = os.environ.get("TERM") in {"dumb", "unknown"}
    return sys.stderr.isatty() and not is_dumb and not os.environ.get("CI")


def label_text(labels: Mapping[str, str]) -> str:
    """The labels of a cell as `key=value, key=value`."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _bar() -> "Bar":
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    text = TextColumn("{task.fields[text]}", markup=False)
    return Bar(BarColumn(bar_width=24), text, console=Console(stderr=True), transient=True)


def _live(table: LiveTable, console: "Console") -> "Live":
    from rich.live import Live

    return Live(table, console=console, refresh_per_second=REDRAWS, transient=True)
