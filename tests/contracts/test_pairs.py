"""Attacks beside the defences that stop them, by the defence's paper: they do, and only they do."""

from typing import NamedTuple

import pytest

from tests.contracts.effects import MEASURES, Claim, Tree, play, twin
from tests.contracts.effects_sent import GENTLE, KRUM, SHOT


class Pair(NamedTuple):
    """An attack that harms the mean by `margin` and leaves `server` as its clean twin is."""

    name: str
    claim: Claim
    margin: float
    adversary: Tree
    server: Tree
    world: Tree | None = None


REPLICATED: Tree = {"name": "label_flip", "mode": "replicate", "source": 5, "target": 3}
PAIRS = [
    Pair(  # Sun et al., 2019: what is boosted is long
        "boosted backdoor, clipping",
        "asr",
        0.8,
        {**SHOT, "attack": {"name": "boost", "factor": "auto"}},
        {"preaggregators": [{"name": "clip", "norm": 0.5}]},
    ),
    Pair(  # Blanchard et al., NeurIPS 2017: noise is far from all others
        "noise, Krum",
        "accuracy",
        0.5,
        {"clients": 4, "attack": {"name": "gaussian", "std": 200.0}},
        KRUM,
    ),
    Pair(  # Cao et al., NDSS 2021: what points away from the server's own update has no trust
        "flipped signs, FLTrust",
        "accuracy",
        0.5,
        {"clients": 4, "attack": {"name": "sign_flip", "factor": 4.0}},
        {"root_data": 100, "aggregator": {"name": "fltrust"}},
    ),
    Pair(  # Fung et al., RAID 2020: many who want the same are alike; their sum is undivided
        "label flips of sybils, FoolsGold",
        "asr",
        0.8,
        {"clients": 5, "poison": REPLICATED},
        {"aggregator": {"name": "foolsgold"}, "lr": 1 / 7},
        GENTLE,
    ),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_the_defence_stops_what_harms_the_mean(pair, seed):
    measure, bare = MEASURES[pair.claim], pair.world or {}
    defended = {**bare, "server": pair.server}
    taken, clean = (at(bare, pair.adversary, seed) for at in (play, twin))
    held, calm = (at(defended, pair.adversary, seed) for at in (play, twin))
    assert measure(taken, clean) >= pair.margin
    assert measure(held, calm) <= 0.1
    assert calm.score("accuracy") > 0.5
    assert held.score("accuracy") > 0.5
