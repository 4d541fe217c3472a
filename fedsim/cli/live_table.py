"""The cells of a sweep as a table on a terminal, drawn anew while they run."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from fedsim.progress import Planned, last_record

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

STATES = ("running", "failed", "waiting", "finished", "already there")
"""The states of a cell, in the order in which they are shown where not all cells fit."""

COLORS = {"running": "cyan", "failed": "red", "finished": "green"}
FRAME = 4
"""Lines of the table that are not a cell: the summary, the head, its rule and what was left out."""


@dataclass
class Row:
    """A cell, and how far it is."""

    planned: Planned
    label: str
    state: str = "waiting"
    is_twin: bool = False
    """Whether it is the clean twin that runs now."""
    first: int = 0
    """The round after which this call began to train."""
    rounds: int = 0
    round: int = 0
    began: float = 0.0
    scores: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] | None = None
    """What stood in the records when the cell began."""

    def begin(self, now: float, rounds: int, done: int, is_twin: bool) -> None:
        """Let it run from now on."""
        self.state, self.is_twin, self.began = "running", is_twin, now
        self.rounds, self.first, self.round = rounds, done, done
        self.before = last_record(self.folder)

    @property
    def folder(self) -> Any:
        """The folder of what runs."""
        return self.planned.twin if self.is_twin and self.planned.twin else self.planned.folder

    def look(self) -> None:
        """See in its folder how far it is, whatever process runs it."""
        if self.is_twin and (self.folder / "summary.json").is_file():
            self.state, self.is_twin, self.scores = "waiting", False, {}
        record = last_record(self.folder)
        if self.state == "running" and record and record != self.before:
            self.hear(record)

    def hear(self, record: Mapping[str, Any]) -> None:
        """Take a line of its records; a round that was not evaluated keeps the last scores."""
        self.round = record["round"]
        if record.get("accuracy") is not None:
            self.scores = record

    def end(self, summary: Mapping[str, Any] | None, reused: bool) -> None:
        """Close it."""
        self.state = "already there" if reused else "failed" if summary is None else "finished"
        self.scores = summary or self.scores
        self.round = self.round if summary is None else self.planned.rounds
        self.is_twin = False

    @property
    def trained(self) -> int:
        """The rounds that this call has trained of what runs or ran last."""
        return max(0, self.round - self.first)

    def seconds_left(self, now: float) -> float | None:
        """The time its rounds to come take if they go like those so far; None before the first."""
        if self.state != "running" or not self.trained:
            return None
        to_come = self.rounds - self.round + (self.planned.rounds if self.is_twin else 0)
        return (now - self.began) / self.trained * to_come


class LiveTable:
    """All cells with state, round, scores and time left; a line that sums them up above."""

    def __init__(self, cells: Sequence[Planned], clock: Callable[[], float]) -> None:
        self.clock, self.began = clock, clock()
        self.rows = [Row(cell, _label(cell)) for cell in cells]
        self.current: Row | None = None
        self.seconds: list[float] = []
        """How long each finished cell took."""

    def cell_started(
        self, index: int, labels: Mapping[str, str], rounds: int, done_rounds: int
    ) -> None:
        """Let the cell, or its clean twin, run."""
        self.current = self.rows[index]
        self.current.scores = {}
        is_twin = dict(labels) != dict(self.current.planned.labels)
        self.current.begin(self.clock(), rounds, done_rounds, is_twin)

    def round_done(self, record: Mapping[str, Any]) -> None:
        """Take a round of the cell that has begun last."""
        if self.current:
            self.current.hear(record)

    def cell_finished(self, index: int, summary: Mapping[str, Any] | None, reused: bool) -> None:
        """Close the cell."""
        row = self.rows[index]
        if not reused and summary is not None:
            self.seconds.append(self.clock() - row.began)
        row.end(summary, reused)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """The table, cut to the lines of the screen."""
        for row in self.rows:
            row.look()
        room = max(1, (options.height or console.size.height) - FRAME)
        shown = self.rows
        if len(self.rows) > room:
            shown = sorted(self.rows, key=lambda row: STATES.index(row.state))[:room]
        yield self._summary()
        yield self._table(shown)
        if rest := self.rows[:0] if shown is self.rows else _without(self.rows, shown):
            yield f"… and {len(rest)} more: {_counted(rest)}"

    def _summary(self) -> "Text":
        from rich.text import Text

        left = self._seconds_left()
        parts = [f"{len(self.rows)} cells: {_counted(self.rows)}", _time(self.clock() - self.began)]
        text = ", ".join([*parts, f"{_time(left)} left"] if left is not None else parts)
        return Text(text, no_wrap=True, overflow="ellipsis")

    def _seconds_left(self) -> float | None:
        """The time for all cells: those that wait take as long as the others, as many at a time."""
        now = self.clock()
        running = [row for row in self.rows if row.state == "running"]
        known = [(row, left) for row in running if (left := row.seconds_left(now)) is not None]
        whole = [*self.seconds, *(now - row.began + left for row, left in known)]
        if not whole or not running:
            return None
        unknown = len(running) - len(known) + sum(row.state == "waiting" for row in self.rows)
        rest = sum(left for _, left in known) + unknown * sum(whole) / len(whole)
        return rest / len(running)

    def _table(self, rows: Sequence[Row]) -> "Table":
        from rich.box import SIMPLE_HEAD
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        table.add_column("cell", no_wrap=True, overflow="ellipsis", min_width=8)
        table.add_column("state", no_wrap=True)
        for head in ("round", "accuracy", "attack success", "left"):
            table.add_column(head, justify="right", no_wrap=True)
        now = self.clock()
        for row in rows:
            color = COLORS.get(row.state, "dim")
            state = f"[{color}]{self._state(row, now)}[/{color}]"
            table.add_row(escape(row.label), state, *_numbers(row, now))
        return table

    def _state(self, row: Row, now: float) -> str:
        """The state in words; what runs shows for how long, so that it is seen to live."""
        if row.state != "running":
            return row.state
        return f"{'clean twin' if row.is_twin else 'running'} {_time(now - row.began)}"


def _numbers(row: Row, now: float) -> list[str]:
    left = row.seconds_left(now)
    rounds = "" if row.state == "waiting" else f"{row.round}/{row.rounds or row.planned.rounds}"
    shares = [row.scores.get(key) for key in ("accuracy", "attack_success_rate")]
    scores = ["" if share is None else f"{share:.1%}" for share in shares]
    return [rounds, *scores, "" if left is None else _time(left)]


def _label(cell: Planned) -> str:
    named = ", ".join(f"{key}={value}" for key, value in cell.labels.items())
    return named or cell.folder.name


def _without(rows: Sequence[Row], shown: Sequence[Row]) -> list[Row]:
    ids = {id(row) for row in shown}
    return [row for row in rows if id(row) not in ids]


def _counted(rows: Sequence[Row]) -> str:
    """How many are in which state."""
    counts = Counter(row.state for row in rows)
    return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
