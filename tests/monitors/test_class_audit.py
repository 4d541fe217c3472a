"""The class audit: falls by hand, and a run whose one class is flipped late."""

import pytest
import torch

from fedsim.monitors import monitors
from fedsim.suspects import Watch
from tests.monitors.watched import flags_of

LABELS = torch.tensor([0] * 10 + [1] * 10)


def looks(*shares, **parameters):
    """What is said of a sequence of (accuracy on class 0, on class 1) over three classes."""
    monitor, state, said = monitors.build("class_audit", **parameters), {}, []
    for round_, (zero, one) in enumerate(shares, start=1):
        right = torch.tensor([k < 10 * zero for k in range(10)] + [k < 10 * one for k in range(10)])
        logits = torch.nn.functional.one_hot(torch.where(right, LABELS, 2), 3).float()
        seen = Watch(
            round_, lambda _, found=logits: found, torch.zeros(20, 1, 1, 1), LABELS, 3, state
        )
        alarm, state = monitor(seen)
        said.append(alarm)
    return said


def test_the_class_that_fell_most_is_named():
    said = looks((0.9, 1.0), (0.9, 0.8), (0.5, 0.2), window=2)
    assert said == [
        None,
        None,
        "class 1: accuracy on root data 0.200, 0.900 on average over the 2 rounds before",
    ]


def test_a_fall_is_judged_against_a_full_window_that_moves_on():
    assert looks((0.9, 0.9), (0.1, 0.9), window=2) == [None, None]
    steps = [(0.9, 0.9), (0.9, 0.9), (0.1, 0.9), (0.1, 0.9), (0.1, 0.9)]
    assert [one is not None for one in looks(*steps, window=2)] == [
        *(False, False, True, True, False),
    ]


def test_what_falls_less_is_let_pass():
    assert looks((1.0, 1.0), (0.8, 1.0), window=1, fall=0.3) == [None, None]
    assert looks((1.0, 1.0), (0.7, 1.0), window=1, fall=0.3)[1] is not None


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_in_which_one_class_is_flipped_late_raises_it_and_its_twin_does_not(seed):
    flip = {"name": "label_flip", "mode": "pair", "source": 5, "target": 3}
    attack = {
        "clients": 2,
        "schedule": {"first": 9},
        "poison": flip,
        "training": {"epochs": 6},
        "attack": {"name": "boost", "factor": 3.0},
    }
    assert min(flags_of(seed, attack)["class_audit"]) >= 9
    assert flags_of(seed, None) == {}
