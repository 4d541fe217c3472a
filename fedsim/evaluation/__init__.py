"""Score cards: what every attack of a suite does to a federation that a rule defends."""

from fedsim.evaluation.cards import Card, load_card, write_card
from fedsim.evaluation.leaderboard import ranked
from fedsim.evaluation.record import Judged, card_record
from fedsim.evaluation.reported import REPORTED
from fedsim.evaluation.suites import SUITES, Suite, load_suite

__all__ = [
    "REPORTED",
    "SUITES",
    "Card",
    "Judged",
    "Suite",
    "card_record",
    "load_card",
    "load_suite",
    "ranked",
    "write_card",
]
