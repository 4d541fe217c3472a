"""Who is malicious, who acts in a round, and who is drawn for it."""

from typing import NamedTuple

import torch

from fedsim.scenario import Scenario
from fedsim.seeding import generator


class Cohort(NamedTuple):
    """The clients of one round, sorted by id; `acting` ones attack, `malicious` ones could."""

    round: int
    clients: tuple[int, ...]
    malicious: frozenset[int]
    acting: frozenset[int]


def pool(scenario: Scenario, round_: int) -> tuple[int, ...]:
    """The adversary's clients in the order given; drawn ones are sorted by id.

    With `schedule.pool: redrawn` they are drawn anew for every round.
    """
    adversary = scenario.adversary
    if adversary is None:
        return ()
    if isinstance(adversary.clients, list):
        return tuple(adversary.clients)
    keys = (round_,) if adversary.schedule.pool == "redrawn" else ()
    order = torch.randperm(
        scenario.clients.total, generator=generator(scenario.seed, "adversary", *keys)
    )
    return tuple(sorted(order[: scenario.num_malicious].tolist()))


def attackers(scenario: Scenario, round_: int) -> tuple[int, ...]:
    """The malicious clients whose schedule lets them attack in `round_`, drawn or not."""
    adversary = scenario.adversary
    if adversary is None or not adversary.schedule.active(round_, scenario.rounds):
        return ()
    members = pool(scenario, round_)
    turn = adversary.schedule.turn(round_)
    return members if turn is None else members[turn : turn + 1]


def draw_cohort(scenario: Scenario, round_: int, attempt: int = 0) -> Cohort:
    """The cohort of `round_`: uniform without replacement, forced attackers first.

    `attempt` counts the draws of a round that is repeated because too few clients replied.
    """
    ready = attackers(scenario, round_)
    forced = ready if scenario.adversary and scenario.adversary.schedule.forced else ()
    order = torch.randperm(
        scenario.clients.total, generator=generator(scenario.seed, "cohort", round_, attempt)
    ).tolist()
    others = [client for client in order if client not in forced]
    clients = sorted([*forced, *others[: scenario.clients.per_round - len(forced)]])
    return Cohort(
        round_,
        tuple(clients),
        frozenset(pool(scenario, round_)) & frozenset(clients),
        frozenset(ready) & frozenset(clients),
    )


def last_attack_round(scenario: Scenario) -> int | None:
    """The last round in which the schedule lets anybody attack, or None."""
    rounds = (r for r in range(scenario.rounds, 0, -1) if attackers(scenario, r))
    return next(rounds, None)
