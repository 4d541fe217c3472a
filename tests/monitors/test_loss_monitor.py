"""The loss monitor: warnings by hand, and a run that is attacked late."""

import pytest
import torch

from fedsim.monitors import monitors
from fedsim.suspects import Watch
from tests.monitors.watched import flags_of

LABELS = torch.tensor([0, 1, 0, 1])


def watch(state, confidence=0.0, right=1.0, round_=1):
    """Logits that give the true class, or the other one, the weight e^confidence."""
    sure = torch.nn.functional.one_hot(LABELS, 2) * confidence * right
    return Watch(round_, lambda images: sure.float(), torch.zeros(4, 1, 1, 1), LABELS, 2, state)


def alarms(*looks, **parameters):
    """What is said of a sequence of (confidence, right)."""
    monitor, state, said = monitors.build("loss_monitor", **parameters), {}, []
    for confidence, right in looks:
        alarm, state = monitor(watch(state, confidence, right))
        said.append(alarm)
    return said


GOOD, BAD = (5.0, 1.0), (5.0, -1.0)


def test_the_warning_after_count_is_the_alarm_and_counting_begins_anew():
    said = alarms(GOOD, *[BAD] * 6, count=2)
    assert [one is not None for one in said] == [False, False, False, True, False, False, True]
    assert said[3] == (
        "loss 5.007 over 1 for the 3rd time; accuracy on root data 0.000, at best 1.000"
    )


def test_warnings_need_not_follow_one_another():
    said = alarms(GOOD, BAD, GOOD, BAD, count=1)
    assert [one is not None for one in said] == [False, False, False, True]


def test_a_model_that_has_learned_nothing_yet_is_no_warning():
    assert alarms(*[BAD] * 5, GOOD, BAD, count=0)[:6] == [None] * 6
    assert alarms(*[BAD] * 5, GOOD, BAD, count=0)[6] is not None


def test_the_threshold_is_in_nats_and_itself_no_warning():
    assert alarms(GOOD, (0.0, 1.0), count=0, threshold=0.7) == [None, None]  # ln 2 = 0.693
    assert alarms(GOOD, (0.0, 1.0), count=0, threshold=0.69)[1] is not None


def test_a_diverged_model_is_a_warning():
    assert alarms(GOOD, (float("nan"), 1.0), count=0)[1].startswith("loss nan over 1 ")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_that_is_attacked_late_raises_it_and_its_twin_does_not(seed):
    attack = {"clients": 2, "schedule": {"first": 6}, "attack": {"name": "sign_flip", "factor": 5}}
    assert min(flags_of(seed, attack)["loss_monitor"]) > 6
    assert flags_of(seed, None) == {}
