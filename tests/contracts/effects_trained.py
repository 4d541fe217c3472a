"""What the constraints claim: Multi-Krum leaves a backdoor out, but not one that is held back."""

from tests.contracts.effects import Claim, Effect, Tree
from tests.contracts.effects_sent import BACKDOOR, GENTLE

WORLD: Tree = {**GENTLE, "server": {"aggregator": {"name": "multi_krum", "num_byzantine": 3}}}
FREE: Tree = {"clients": 3, "poison": BACKDOOR, "training": {"epochs": 5}}


def held(constraint: Tree, claim: Claim, margin: float) -> Effect:
    """A row of a constraint, beside the same adversary free of it."""
    training = {**FREE["training"], "constraints": [constraint]}
    return Effect(
        "constraints",
        constraint["name"],
        claim,
        margin,
        {**FREE, "training": training},
        without=FREE,
        world=WORLD,
    )


BALL: Tree = {"name": "projection", "norm": "l2", "radius": 0.8}
NEAR: Tree = {"name": "stealth", "distance": "l2", "weight": 0.5}
TURNS: Tree = {"name": "alternating", "clean_steps": 1, "rho": 1.0}

ROWS = [
    held(BALL, "accepted", 0.8),
    held(BALL, "asr", 0.5),
    held(NEAR, "accepted", 0.8),
    held(NEAR, "asr", 0.4),
    held(TURNS, "accepted", 0.4),
    held(TURNS, "asr", 0.3),
    Effect(
        "constraints",
        "pruning_aware",
        "mechanism",
        why="The paper claims that the backdoor outlives pruning, which comes after the training: "
        "tests/repairs and scenarios/after/pruning_aware.yaml measure that.",
    ),
    Effect(
        "constraints",
        "neurotoxin",
        "mechanism",
        why="The paper claims durability; on digits, with 2,410 parameters, a masked backdoor lasts "
        "no longer than an unmasked one, as scenarios/attacks/neurotoxin.yaml has measured.",
    ),
]
