"""Cards ranked: those of one suite against one another, who never learned last."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.evaluation import words
from fedsim.evaluation.cards import Card
from fedsim.evaluation.page import templates
from fedsim.reporting.words import percent

HEADER = (
    *("", "rule", "worst case", "damage %", "clean cost %", "sum %", "s / round", "flags"),
    *("reported", "suite", "fedsim", "command"),
)
WORDS = ("rule", "worst case", "flags", "reported", "suite", "fedsim", "command")
"""The columns that are read, not compared."""


@dataclass(frozen=True)
class Ranking:
    """The cards of one suite, the best first. Cards of other suites cannot be compared."""

    suite: str
    hash: str
    question: str
    cards: tuple[Card, ...]

    @property
    def body(self) -> list[list[str]]:
        """A row of text for each card, under HEADER."""
        return [[str(k), *_row(card.record)] for k, card in enumerate(self.cards, start=1)]


def ranked(cards: Sequence[Card]) -> list[Ranking]:
    """A ranking for each suite, in the order in which the suites first appear."""
    suites: dict[tuple[str, str], list[Card]] = {}
    for card in cards:
        suite = card.record["suite"]
        suites.setdefault((suite["name"], suite["hash"]), []).append(card)
    return [
        Ranking(
            *(name, digest, members[0].record["suite"]["question"]),
            tuple(sorted(members, key=lambda card: words.standing(card.record))),
        )
        for (name, digest), members in suites.items()
    ]


def markdown(rankings: Sequence[Ranking]) -> str:
    """The rankings as tables in Markdown."""
    parts = []
    for ranking in rankings:
        lines = [HEADER, ["---"] * len(HEADER), *ranking.body]
        table = "\n".join("| " + " | ".join(map(_escaped, line)) + " |" for line in lines)
        parts.append(
            f"## Suite {ranking.suite} ({ranking.hash})\n\n{ranking.question}\n\n{table}\n"
        )
    return "\n".join(parts)


def html(rankings: Sequence[Ranking]) -> str:
    """The rankings as a page."""
    return templates().get_template("leaderboard.html.j2").render(
        title="Leaderboard of aggregation rules",
        rankings=rankings,
        header=HEADER,
        words=[k for k, title in enumerate(HEADER) if title in WORDS],
    )  # fmt: skip


def _row(card: dict[str, Any]) -> list[str]:
    worst = card["worst_case"]
    return [
        card["rule"]["label"],
        words.attack_text(worst),
        percent(words.interval(worst["damage"])),
        percent(words.interval(card["clean_cost"])),
        percent(card["ranking_key"]),
        words.seconds(card["seconds_per_round"]),
        ", ".join(flag["flag"].replace("_", " ") for flag in card["flags"]) or "none",
        "; ".join(f"{one['text']} ({one['source']})" for one in card["reported"]) or "–",
        f"{card['suite']['name']} {card['suite']['hash']}",
        card["fedsim"],
        card["command"],
    ]


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
