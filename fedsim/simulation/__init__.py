"""The federation without Flower: local training, the round, the adversary, evaluation."""

from fedsim.simulation.client import Reply, Visit, visit
from fedsim.simulation.federation import Federation, prepare, prepare_cell
from fedsim.simulation.roles import Cohort, attackers, draw_cohort, last_attack_round, pool
from fedsim.simulation.rounds import RoundRecord, State, close_round, open_round
from fedsim.simulation.together import visit_together

__all__ = [
    "Cohort",
    "Federation",
    "Reply",
    "RoundRecord",
    "State",
    "Visit",
    "attackers",
    "close_round",
    "draw_cohort",
    "last_attack_round",
    "open_round",
    "pool",
    "prepare",
    "prepare_cell",
    "visit",
    "visit_together",
]
