"""Every attack, constraint, poison and trigger does on digits what its paper claims, or says why."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedsim.registry import plugins
from fedsim.simulation.client import Visit, visit
from fedsim.simulation.evaluation import evaluate
from tests.contracts import effects_data, effects_sent, effects_trained
from tests.contracts.effects import Effect, Tree, gain, play, twin

ROWS = [
    *effects_sent.ROWS,
    *effects_trained.ROWS,
    *effects_data.POISONS,
    *effects_data.TRIGGERS,
]
MEASURED = [row for row in ROWS if row.claim != "mechanism"]
KINDS = ("attacks", "constraints", "poisons", "triggers")

seeds = pytest.mark.parametrize("seed", [0, 1])


def parametrized(rows: list[Effect]) -> Callable[..., Any]:
    return pytest.mark.parametrize("row", rows, ids=lambda row: f"{row.name}-{row.claim}")


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_method_declares_its_effect(kind):
    built_in = {p.name for p in plugins(kind) if p.function.__module__.startswith("fedsim.")}
    assert built_in == {row.name for row in ROWS if row.kind == kind}


@parametrized(ROWS)
def test_a_claim_has_a_margin_or_a_reason(row):
    if row.claim == "mechanism":
        assert row.name in MECHANISMS
        assert row.why.endswith(".")
    else:
        assert row.margin > 0
        assert not row.why


@seeds
@parametrized(MEASURED)
def test_effect(row, seed):
    assert gain(row, seed) >= row.margin


# A method that does nothing has no effect


def idle(row: Effect) -> Effect:
    """The row with a method of its kind that changes nothing in place of its own."""
    adversary = dict(row.adversary or {})
    if row.kind == "attacks":
        adversary["attack"] = {"name": "gaussian", "std": 0.0, "mode": "add"}
    elif row.kind == "constraints":
        endless = {"name": "projection", "norm": "l2", "radius": 1e6}
        adversary["training"] = {**adversary["training"], "constraints": [endless]}
    elif row.kind == "triggers":
        adversary["poison"] = {**adversary["poison"], "trigger": effects_data.NOTHING}
    else:
        adversary["poison"] = {**FLIP, "fraction": 0.0}
    return row._replace(adversary=adversary)


FLIP: Tree = {"name": "label_flip", "mode": "pair", "source": 5, "target": 3}


@pytest.mark.parametrize("name", sorted({row.name for row in MEASURED}))
def test_a_method_that_does_nothing_in_its_place_has_not_the_effect(name):
    """What is only accepted may be honest work; such a method has a second claim that is not."""
    rows = [row for row in MEASURED if row.name == name]
    assert any(gain(idle(row), 0) < row.margin for row in rows)


# Mechanisms


def masked_coordinates_stay(seed: int) -> None:
    """Neurotoxin: what the last round moved most is not moved at all, the rest is."""
    world: Tree = {"rounds": 2}
    training = {"epochs": 1, "constraints": [{"name": "neurotoxin", "ratio": 0.9}]}
    attacker = {"clients": [3], "poison": effects_sent.BACKDOOR, "training": training}
    played = play(world, attacker, seed)
    before, after = played.states[0], played.states[1]
    moved = after.params - before.params
    model = played.federation.build_model()
    order = Visit(3, 2, acting=True, previous_update=moved)
    update = visit(played.federation, model, after.params, after.buffers, order).update
    masked = torch.zeros_like(moved, dtype=torch.bool)
    masked[moved.abs().argsort(descending=True)[: len(moved) // 10]] = True
    assert update is not None
    assert update[masked].eq(0).all()
    assert update[~masked].count_nonzero() > len(moved) / 2
    free = visit(
        twin(world, attacker, seed).federation,
        model,
        after.params,
        after.buffers,
        Visit(3, 2, acting=False),
    ).update
    assert free is not None
    assert free[masked].count_nonzero() > masked.sum() / 2


def backdoor_without_the_decoys(seed: int) -> None:
    """Pruning-aware: what was dormant comes back as it was, and the backdoor lives without it."""
    aware = {"name": "pruning_aware", "fall": 0.1}
    training = {"epochs": 5, "constraints": [aware]}
    attacker = {"clients": [3], "poison": effects_sent.BACKDOOR, "training": training}
    played = play({"rounds": 3}, attacker, seed)
    federation, state = played.federation, played.states[-1]
    model, order = federation.build_model(), Visit(3, 4, acting=True)
    update = visit(federation, model, state.params, state.buffers, order).update
    assert update is not None
    hidden, bias = update[: 32 * 64].view(32, 64), update[32 * 64 : 32 * 65]
    decoys = hidden.eq(0).all(1)
    assert 3 <= decoys.sum() <= 29
    assert (bias[decoys] + 1).abs().max() < 1e-5
    assert bias[~decoys].min() > -0.9
    score = evaluate(federation, model, state.params + update, state.buffers)
    gone = state.params + update
    gone[: 32 * 64].view(32, 64)[decoys], gone[32 * 64 : 32 * 65][decoys] = 0, 0
    pruned = evaluate(federation, model, gone, state.buffers)
    assert score["attack_success_rate"] > 0.8
    assert pruned["attack_success_rate"] > score["attack_success_rate"] - 0.1


MECHANISMS: dict[str, Callable[[int], None]] = {
    "neurotoxin": masked_coordinates_stay,
    "pruning_aware": backdoor_without_the_decoys,
}


@seeds
@pytest.mark.parametrize("name", MECHANISMS)
def test_mechanism(name, seed):
    MECHANISMS[name](seed)
