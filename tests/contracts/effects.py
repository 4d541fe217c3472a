"""What a method does on digits beside what happens without it, and whether that is enough."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from fedsim.flower import run_rounds
from fedsim.scenario import load
from fedsim.simulation import RoundRecord, State, prepare
from fedsim.simulation.evaluation import evaluate
from fedsim.simulation.federation import Federation
from fedsim.types import DataSource

Tree = dict[str, Any]
Claim = Literal["asr", "accuracy", "accepted", "distance", "mechanism"]

BASE: Tree = {
    "name": "effect",
    "rounds": 5,
    "evaluate_every": 100,  # the last round alone
    "model": {"name": "mlp", "hidden": [32]},
    "clients": {
        "total": 12,
        "per_round": 12,
        "training": {"epochs": 1, "batch_size": 32, "lr": 0.2, "momentum": 0.9},
    },
}


class Effect(NamedTuple):
    """The quantity that a method's paper claims, where it shows on digits, and by how much.

    `margin` is what the attacked run must have beyond its clean twin, and beyond the same run
    with the adversary of `without`, if that is given: one that leaves the method out and nothing
    else. `why` says of a claim of the mechanism alone why digits cannot show more.
    """

    kind: str
    name: str
    claim: Claim
    margin: float = 0.0
    adversary: Tree | None = None
    without: Tree | None = None
    world: Tree | None = None
    why: str = ""


class Played(NamedTuple):
    """A whole run: what was measured, and the model after every round."""

    federation: Federation
    records: list[RoundRecord]
    states: list[State]

    def score(self, name: str) -> float:
        return self.records[-1].round[name]


def scenario(world: Tree, adversary: Tree | None, seed: int) -> Any:
    return load({**BASE, **world, "adversary": adversary, "seed": seed})[0].scenario


def play(world: Tree, adversary: Tree | None, seed: int) -> Played:
    """The run, played once for all who ask for it."""
    return _play(json.dumps([world, adversary, seed], sort_keys=True))


@cache
def _play(asked: str) -> Played:
    federation = prepare(scenario(*json.loads(asked)), DataSource(Path("none")))
    played = Played(federation, [], [])

    def on_round(state: State, record: RoundRecord) -> None:
        played.records.append(record)
        played.states.append(state)

    run_rounds(federation, None, on_round)
    return played


def twin(world: Tree, adversary: Tree, seed: int) -> Played:
    """The run without attackers: one for all whose clients hold the same, scored for each."""
    poison = adversary.get("poison")
    if poison is None:
        return play(world, None, seed)
    measured = {"clients": 0, "poison": poison}
    federation = prepare(scenario(world, measured, seed), DataSource(Path("none")))
    shares = str([indices.tolist() for indices in federation.clients])
    clean = _TWINS.setdefault((str(world), seed, shares), (world, measured, seed))
    _, records, states = play(*clean)
    scores = evaluate(federation, federation.build_model(), states[-1].params, states[-1].buffers)
    last = replace(records[-1], round={**records[-1].round, **scores})
    return Played(federation, [*records[:-1], last], states)


_TWINS: dict[tuple[str, int, str], tuple[Tree, Tree, int]] = {}


def gain(effect: Effect, seed: int) -> float:
    """What the claim asks for, beyond the clean twin and beyond the run without the method."""
    world, adversary, measure = effect.world or {}, effect.adversary or {}, MEASURES[effect.claim]
    attacked = play(world, adversary, seed)
    others = [twin(world, adversary, seed)]
    if effect.without is not None:
        others.append(play(world, effect.without, seed))
    return min(measure(attacked, other) for other in others)


def _success(attacked: Played, other: Played) -> float:
    return attacked.score("attack_success_rate") - other.score("attack_success_rate")


def _harm(attacked: Played, other: Played) -> float:
    return other.score("accuracy") - attacked.score("accuracy")


def _accepted(attacked: Played, other: Played) -> float:
    return accepted(attacked) - accepted(other)


def accepted(played: Played) -> float:
    """The share of the malicious rows that the rule gave weight; 0 where nobody acts."""
    weights = [c["weight"] for r in played.records for c in r.clients if c["acting"]]
    return sum(weight > 0 for weight in weights) / max(1, len(weights))


def _distance(attacked: Played, other: Played) -> float:
    """How far the first round's model is moved, over the length of the other's first step."""
    start, there, here = other.states[0].params, other.states[1].params, attacked.states[1].params
    return float(torch.linalg.vector_norm(here - there) / torch.linalg.vector_norm(there - start))


MEASURES: dict[str, Callable[[Played, Played], float]] = {
    "asr": _success,
    "accuracy": _harm,
    "accepted": _accepted,
    "distance": _distance,
}
