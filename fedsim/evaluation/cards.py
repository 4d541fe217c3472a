"""Score cards on disk: card.json, and the same as a page."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from fedsim.errors import InputError
from fedsim.evaluation import words
from fedsim.evaluation.page import card_page
from fedsim.results.files import Record, plain, read_json, replace_file, write_json

KEYS = {
    *("rule", "suite", "worst_case", "clean_cost", "ranking_key", "never_learned", "attacks"),
    *("references", "flags", "assumptions", "seconds_per_round", "command", "fedsim"),
}


@dataclass(frozen=True, repr=False)
class Card:
    """The score card in the folder `path`. All shares are in [0, 1].

    An interval is `{mean, half, n}`: the 95 % interval of the mean over n seeds is mean ± half.
    """

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @cached_property
    def record(self) -> Record:
        """The object of card.json; InputError if it is not one."""
        file = self.path / "card.json"
        record = read_json(file)
        missing = sorted(KEYS - record.keys())
        if missing:
            raise InputError(f"{file}: is not a score card: it has no '{missing[0]}'.")
        return record

    @property
    def story(self) -> list[str]:
        """The card in three sentences."""
        return words.story(self.record)

    @property
    def worst_case(self) -> Record:
        """The attack that does most damage on average over the seeds, and how much."""
        return dict(self.record["worst_case"])

    @property
    def clean_cost(self) -> Record | None:
        """The accuracy lost against the plain mean when nobody attacks."""
        cost = self.record["clean_cost"]
        return None if cost is None else dict(cost)

    @property
    def ranking_key(self) -> float:
        """Worst case + clean cost; the lower the better."""
        return float(self.record["ranking_key"])

    @property
    def attacks(self) -> list[Record]:
        """A row for each attack."""
        return list(self.record["attacks"])

    @property
    def flags(self) -> list[Record]:
        """What keeps the card from meaning what it seems to, as `{flag, text}`."""
        return list(self.record["flags"])

    def __repr__(self) -> str:
        rule, suite = self.record["rule"]["label"], self.record["suite"]["name"]
        return f"Card({rule} on {suite}: worst case + clean cost {self.ranking_key:.3f})"

    def _repr_html_(self) -> str:
        header, body = words.columns_with_numbers(words.HEADER, words.attack_grid(self.record))
        told = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.story)
        head = "".join(f"<th>{escape(title)}</th>" for title in header)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
        )
        return f"{told}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def write_card(path: Path, record: Mapping[str, Any]) -> Card:
    """Write card.json and card.html into the folder `path`; the Card there."""
    path.mkdir(parents=True, exist_ok=True)
    whole = plain(record)
    write_json(path / "card.json", whole)
    replace_file(path / "card.html", card_page(whole).encode(errors="replace"))
    return Card(path)


def load_card(path: Path | str) -> Card:
    """The card of a folder, or of the card.json in it; InputError if there is none."""
    given = Path(path)
    card = Card(given.parent if given.name == "card.json" else given)
    _ = card.record
    return card
