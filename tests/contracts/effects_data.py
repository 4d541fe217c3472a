"""What the poisons and triggers claim, each beside a clean twin that is measured in the same way.

A trigger is told from a backdoor of equal labels whose trigger does nothing.
"""

from typing import Any

from tests.contracts.effects import Claim, Effect, Tree
from tests.contracts.effects_sent import BACKDOOR

NOTHING: Tree = {"name": "blend", "alpha": 0.0}
HOOKED_SEVENS = [
    *(310, 324, 339, 340, 346, 367, 378, 390, 397, 740, 1140, 1150, 1161, 1192, 1213, 1222)
]


def poisoned(poison: Tree, claim: Claim, margin: float, clients: int = 4, **more: Any) -> Effect:
    """A row of a poison, whose clients train five times as long as the others."""
    adversary = {"clients": clients, "poison": poison, "training": {"epochs": 5}}
    return Effect("poisons", poison["name"], claim, margin, adversary, **more)


def stamped(name: str, margin: float = 0.5, **parameters: Any) -> Effect:
    """A row of a trigger: four of twelve stamp half of their digits and call them twos."""

    def adversary(trigger: Tree) -> Tree:
        poison = {**BACKDOOR, "trigger": trigger}
        return {"clients": 4, "poison": poison, "training": {"epochs": 5}}

    trigger = {"name": name, **parameters}
    return Effect("triggers", name, "asr", margin, adversary(trigger), adversary(NOTHING))


def learned(name: str, margin: float, **parameters: Any) -> Effect:
    """A row of a learned trigger, beside the grey square that it starts from."""

    def adversary(**more: Any) -> Tree:
        trigger = {"name": name, "size": 3, "position": [0, 0], **parameters, **more}
        return {"clients": 2, "poison": {**BACKDOOR, "trigger": trigger}}

    return Effect("triggers", name, "asr", margin, adversary(), adversary(lr=1e-9, steps=1))


def collided(name: str, margin: float, **parameters: Any) -> Effect:
    """A row of a clean-label poison, beside as many base images as they are: two of five, late."""
    adversary = {
        "clients": 2,
        "schedule": {"first": 6},
        "training": {"epochs": 10},
        "poison": {
            "name": name,
            "base": 3,
            "source": 9,
            "poisons": 50,
            "steps": 40,
            **parameters,
        },
    }
    plain = {**POINTLESS, "base": 3, "source": 9, "poisons": 50}
    bare = {**adversary, "poison": plain}
    return Effect("poisons", name, "asr", margin, adversary, bare, FEW)


POINTLESS: Tree = {"name": "feature_collision", "steps": 1, "bound": 0.0}
FEW: Tree = {
    "rounds": 8,
    "clients": {
        "total": 5,
        "per_round": 5,
        "training": {"epochs": 2, "batch_size": 32, "lr": 0.1},
    },
}

BRISK: Tree = {
    "rounds": 5,
    "clients": {**FEW["clients"], "training": {**FEW["clients"]["training"], "momentum": 0.9}},
}
MAKER: Tree = {"name": "generated", "poisons": 100, "pretraining": 30}
MADE: Tree = {"clients": 2, "training": {"epochs": 5}, "poison": MAKER}
UNMADE: Tree = {**MADE, "poison": {**MAKER, "steps": 1, "bound": 0.0}}
"""As many images with the same false labels, but plain ones."""

POISONS = [
    poisoned(BACKDOOR, "asr", 0.5),
    poisoned(
        {"name": "label_flip", "mode": "pair", "source": 5, "target": 3}, "asr", 0.4, clients=5
    ),
    poisoned({"name": "label_flip", "mode": "reversed"}, "accuracy", 0.4, clients=5),
    poisoned(
        {
            "name": "distributed_backdoor",
            "target": 2,
            "per_batch": 16,
            "trigger": {"name": "dba", "size": 2, "gap": 2},
        },
        "asr",
        0.5,
    ),
    poisoned({"name": "target_clients", "source": 7, "target": 1, "count": 8}, "asr", 0.2),
    poisoned({"name": "semantic", "ids": HOOKED_SEVENS, "target": 1}, "asr", 0.4),
    poisoned({"name": "edge_case", "source": 7, "target": 1, "count": 60}, "asr", 0.4),
    poisoned({"name": "instance_key", "target": 2, "count": 20}, "asr", 0.5),
    Effect("poisons", "generated", "accuracy", 0.03, MADE, UNMADE, BRISK),
    collided("feature_collision", 0.9),
    collided("watermarked_collision", 0.9),
    collided("convex_polytope", 0.9, bound=0.5),
    collided("stingray", 0.9),
]
TRIGGERS = [
    stamped("patch"),
    stamped("dba", size=2, gap=2),
    stamped("blend", alpha=0.4),
    stamped("accessory"),
    stamped("blended_accessory", alpha=0.4),
    stamped("one_pixel", position=[3, 1]),
    stamped("sinusoid", delta=0.2, frequency=3),
    stamped("warp", strength=2.0),
    learned("trojan", 0.2, steps=50, lr=0.05),
    learned("a3fl", 0.2, steps=30),
]
