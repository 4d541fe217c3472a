"""Rules crossed with attacks: what each attack did to each rule, as cells of one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.reporting.labels import RunLike, distinct, printable
from fedsim.reporting.scores import Row, rows
from fedsim.reporting.spelling import adversary_texts, attacks, other_texts, server_texts
from fedsim.reporting.table import latex_table, markdown_table
from fedsim.reporting.words import percent
from fedsim.results.stats import Interval

MEASURES = {
    "attack_success_rate": "ASR (%)",
    "accuracy_drop": "drop (points)",
    "accuracy": "accuracy (%)",
}
"""What a cell may show, the first that its column has."""

TOLD = {
    "attack_success_rate": "ASR: attack success rate",
    "accuracy_drop": "drop: points of accuracy lost against the clean twin",
    "accuracy": "accuracy: on the clean test set",
}


@dataclass(frozen=True)
class Crossing:
    """A table of runs: `cells` by (row, column), those that were run; seeds averaged."""

    rules: list[str]
    attacks: list[str]
    shown: list[str]
    """For each column the score that its cells show, a key of `MEASURES`."""
    cells: dict[tuple[int, int], Row]
    places: dict[Path, tuple[int, int]]
    """The cell to which the run in a folder belongs."""

    def score(self, row: int, column: int) -> Interval | None:
        """The mean of a cell with its interval; None where nothing was run or it does not apply."""
        cell = self.cells.get((row, column))
        return cell.scores[self.shown[column]] if cell else None

    @property
    def seeds(self) -> list[int]:
        """The numbers of seeds behind a cell, the smallest first."""
        return sorted({cell.seeds for cell in self.cells.values()})

    def note(self) -> str:
        """What a cell is: the measures, the interval and the number of seeds."""
        told = [text for key, text in TOLD.items() if key in self.shown]
        least, most = self.seeds[0], self.seeds[-1]
        many = f"{most}" if least == most else f"{least} to {most}"
        told.append(
            "one seed, no interval" if most == 1
            else f"mean ± half of the 95 % interval over {many} seeds"
        )  # fmt: skip
        missing = len(self.cells) < len(self.rules) * len(self.attacks)
        return "; ".join(told) + "." + (" Empty: not run." if missing else "")

    def labels(self, run: RunLike) -> dict[str, str]:
        """Rule, attack and what its cell shows, for the line of `run` among raw numbers."""
        row, column = self.places[run.path]
        return {
            "rule": self.rules[row],
            "attack": self.attacks[column],
            "shown": self.shown[column],
        }

    def grid(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows as text; a cell that was not run is empty."""
        titles = [
            f"{attack}: {MEASURES[key]}"
            for attack, key in zip(self.attacks, self.shown, strict=True)
        ]
        body = [[rule, *self._told(i)] for i, rule in enumerate(self.rules)]
        return ["rule", *titles], body

    def _told(self, row: int) -> list[str]:
        return [
            percent(self.score(row, column)) if (row, column) in self.cells else ""
            for column in range(len(self.attacks))
        ]


def cross(runs: Sequence[RunLike]) -> Crossing | None:
    """The runs as a table of what the server does by what the adversary, and all else, does.

    None where nobody attacks, or where they make no table: one cell, or none beside another.
    """
    listed = distinct(runs)
    if not any(attacks(run.scenario) for run in listed):
        return None
    texts = [map(printable, side) for side in (server_texts(_trees(listed)), _columns(listed))]
    pairs = list(zip(*texts, strict=True))
    rules, columns = (list(dict.fromkeys(side)) for side in zip(*pairs, strict=True))
    entries = [
        ({"rule": rule, "attack": attack}, run.summary)
        for (rule, attack), run in zip(pairs, listed, strict=True)
    ]
    scored = rows(entries)
    if len(scored) < 2 or _is_scattered(scored):
        return None
    cells = {
        (rules.index(row.labels["rule"]), columns.index(row.labels["attack"])): row
        for row in scored
    }
    shown = [_measure([row for row in scored if row.labels["attack"] == one]) for one in columns]
    places = {
        run.path: (rules.index(rule), columns.index(attack))
        for (rule, attack), run in zip(pairs, listed, strict=True)
    }
    return Crossing(rules, columns, shown, cells, places)


def crossed(crossing: Crossing, *, tex: bool = False) -> str:
    """The table as Markdown with its note, or as a LaTeX tabular (needs booktabs)."""
    header, body = crossing.grid()
    texts = [True] + [False] * len(crossing.attacks)
    if tex:
        return latex_table(header, body, texts)
    return f"{markdown_table(header, body, texts)}\n{crossing.note()}\n"


def _trees(runs: Sequence[RunLike]) -> list[dict[str, Any]]:
    return [run.scenario for run in runs]


def _columns(runs: Sequence[RunLike]) -> list[str]:
    """What the adversary does where that differs, and what else does; else what all do."""
    trees = _trees(runs)
    deeds, others = adversary_texts(trees), other_texts(trees)
    if len(set(deeds)) == 1 and any(others):
        return [text or deed for deed, text in zip(deeds, others, strict=True)]
    return [", ".join(filter(None, pair)) for pair in zip(deeds, others, strict=True)]


def _is_scattered(scored: Sequence[Row]) -> bool:
    """Whether no rule met two attacks and no attack two rules, so that nothing can be compared."""
    return all(
        len({row.labels[key] for row in scored}) == len(scored) for key in ("rule", "attack")
    )


def _measure(column: Sequence[Row]) -> str:
    known = (key for key in MEASURES if any(row.scores[key] is not None for row in column))
    return next(known, "accuracy")
