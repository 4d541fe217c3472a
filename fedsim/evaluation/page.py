"""card.html: no script, nothing loaded from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from fedsim.evaluation import words
from fedsim.evaluation.figures import damage_figure
from fedsim.reporting.page import environment
from fedsim.reporting.style import svg
from fedsim.results.store import to_yaml

if TYPE_CHECKING:
    from jinja2 import Environment


def card_page(card: Mapping[str, Any]) -> str:
    """The page of a card: plain words first, numbers under them."""
    header, body = words.columns_with_numbers(words.HEADER, words.attack_grid(card))
    return templates().get_template("card.html.j2").render(
        title=f"{card['rule']['label']} on suite {card['suite']['name']}",
        question=card["suite"]["question"],
        story=words.story(card),
        flags=card["flags"],
        header=header,
        body=body,
        seeds=max(len(row["seeds"]) for row in card["attacks"]),
        figure=svg(damage_figure(card), title="Damage of each attack under each rule"),
        compared=words.COMPARED,
        comparison=words.comparison(card),
        assumptions=card["assumptions"],
        reported=card["reported"],
        command=card["command"],
        made_with={"suite": card["suite"]["hash"], "fedsim": card["fedsim"], **card["versions"]},
        rule=to_yaml(card["rule"]),
        scenarios=[(words.attack_text(row), row["scenarios"]) for row in card["attacks"]],
    )  # fmt: skip


@cache
def templates() -> Environment:
    """The templates of cards beside those of reports, whose frame they share."""
    from jinja2 import ChoiceLoader, PackageLoader

    own = PackageLoader("fedsim.evaluation", ".")
    return environment().overlay(loader=ChoiceLoader([own, PackageLoader("fedsim.reporting", ".")]))
