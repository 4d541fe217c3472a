"""What the attacks claim: a row each, four of twelve clients malicious unless a row says else."""

from typing import Any

from tests.contracts.effects import Claim, Effect, Tree

GENTLE: Tree = {
    "data": {"partition": {"name": "dirichlet", "alpha": 1.0}},
    "clients": {
        "total": 12,
        "per_round": 12,
        "training": {"epochs": 1, "batch_size": 16, "lr": 0.1, "momentum": 0.9},
    },
}
"""Unequal clients, who would not agree at the rate that equal ones do."""
KRUM: Tree = {"aggregator": {"name": "krum", "num_byzantine": 4}}
MULTI_KRUM: Tree = {"aggregator": {"name": "multi_krum", "num_byzantine": 4}}
MEDIAN: Tree = {"aggregator": {"name": "median"}}
BACKDOOR: Tree = {
    "name": "backdoor",
    "target": 2,
    "fraction": 0.5,
    "trigger": {"name": "patch", "size": 3},
}


def sent(
    name: str, claim: Claim, margin: float, world: Tree, knowledge: str = "own", **parameters: Any
) -> Effect:
    """A row of an attack on what is sent, by clients that train honestly."""
    attack = {"name": name, **parameters}
    adversary = {"clients": 4, "knowledge": knowledge, "attack": attack}
    return Effect("attacks", name, claim, margin, adversary, world=world)


SHOT: Tree = {
    "clients": 1,
    "schedule": {"rounds": [5]},
    "training": {"epochs": 6, "lr": 0.05},
    "poison": BACKDOOR,
}
RIDERS: Tree = {"clients": 4, "attack": {"name": "free_rider"}}
PATCH: Tree = {"name": "patch", "size": 3}
WRITER: Tree = {"clients": 1, "schedule": {"rounds": [5]}, "poison": {**BACKDOOR, "fraction": 0.0}}
TRUSTED: Tree = {"server": {"root_data": 100, "aggregator": {"name": "fltrust"}}}

ROWS = [
    sent("sign_flip", "accuracy", 0.5, {}, factor=4.0),
    sent("gaussian", "accuracy", 0.5, {}, std=200.0),
    sent("zero", "accuracy", 0.4, {"server": KRUM}),
    sent("free_rider", "accuracy", 0.4, {"server": KRUM}, base="previous"),
    Effect(
        "attacks",
        "free_rider",
        "accepted",
        0.6,
        {"clients": 4, "attack": {"name": "free_rider", "base": "previous"}},
        without=RIDERS,
        world=TRUSTED,
    ),
    Effect(
        "attacks",
        "boost",
        "asr",
        0.5,
        {**SHOT, "attack": {"name": "boost", "factor": "auto"}},
        without=SHOT,
    ),
    Effect(
        "attacks",
        "potrojan",
        "asr",
        0.7,
        {**WRITER, "attack": {"name": "potrojan", "target": 2, "trigger": PATCH}},
        without=WRITER,
    ),
    sent("little_is_enough", "accuracy", 0.15, {**GENTLE, "server": MULTI_KRUM}, z=1.5),
    sent("inner_product_manipulation", "accuracy", 0.3, {"server": KRUM}, "benign", epsilon=0.1),
    sent("min_max", "accuracy", 0.3, {**GENTLE, "server": MEDIAN}, "benign", direction="unit"),
    sent("min_sum", "accuracy", 0.3, {**GENTLE, "server": MEDIAN}, "benign", direction="unit"),
    sent("fang_krum", "accuracy", 0.4, {"server": KRUM}, "defense"),
    sent("fang_trimmed_mean", "accuracy", 0.3, {**GENTLE, "server": MEDIAN}, "defense"),
    sent(
        "mimic",
        "accuracy",
        0.1,
        {"data": {"partition": {"name": "shards"}}, "server": MEDIAN},
        "benign",
    ),
    sent("adaptive", "distance", 0.5, {"server": MEDIAN}, "defense", budget=40),
    sent(
        "adaptive",
        "accuracy",
        0.4,
        {"server": KRUM},
        "defense",
        budget=40,
        objective="directed_deviation",
    ),
]
