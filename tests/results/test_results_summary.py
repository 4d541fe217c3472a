"""The summary: every key, durability, failures, and the clean twin, worked by hand."""

import json

import pytest

from fedsim.results.summary import durability
from tests.results.result_records import client_record, round_record, summary_of

KEYS = [
    "name",
    "hash",
    "seed",
    "engine",
    "device",
    "rounds",
    "accuracy",
    "accuracy_per_class",
    "attack_success_rate",
    "robust_accuracy",
    "detection",
    "clean_twin",
    "durability",
    "certified",
    "failures",
    "flags",
    "after",
    "seconds",
    "parameters_sha256",
]


def curve(*rates):
    return [round_record(number, asr=rate) for number, rate in enumerate(rates)]


def test_keys_and_what_does_not_apply():
    summary = summary_of([round_record(0, 0.1), round_record(1, 0.9)], [client_record(1, 0)])
    assert list(summary) == KEYS
    null = {key for key, value in summary.items() if value is None}
    assert null == {
        "attack_success_rate",
        "robust_accuracy",
        "detection",
        "clean_twin",
        "durability",
        "certified",
    }
    assert summary["rounds"] == 1
    assert summary["accuracy"] == 0.9
    assert summary["accuracy_per_class"] == [0.9, 0.8]
    assert summary["failures"] == {}
    assert summary["flags"] == []
    assert summary["after"] == []


def test_scores_are_those_of_the_last_round():
    last = round_record(2, 0.7, 0.4, robust_accuracy=0.3)
    summary = summary_of([round_record(0, 0.1), round_record(1, 0.8, 0.9), last], [])
    scores = ("rounds", "accuracy", "attack_success_rate", "robust_accuracy")
    assert [summary[key] for key in scores] == [2, 0.7, 0.4, 0.3]


def test_durability_by_hand():
    rates = [0.0, 0.2, 0.8, *(0.8 - 0.05 * k for k in range(1, 16)), *[0.1] * 10]
    found = durability(curve(*rates), {1, 2}, 2)
    assert found["last_round"] == 2
    assert found["at"] == {"10": pytest.approx(0.3), "20": 0.1}
    assert found["rounds_to_half"] == 8


def test_durability_when_it_never_halves_or_is_short():
    found = durability(curve(0.0, 0.8, 0.7, 0.41), {1}, 1)
    assert found == {"last_round": 1, "at": {}, "rounds_to_half": None}


def test_durability_skips_rounds_that_were_not_evaluated():
    rates = [0.1, 0.8, None, 0.3, *[None] * 8, 0.2]
    found = durability(curve(*rates), {1}, 1)
    assert found == {"last_round": 1, "at": {"10": None}, "rounds_to_half": 2}
    unseen = durability(curve(0.1, None, 0.3), {1}, 1)
    assert unseen == {"last_round": 1, "at": {}, "rounds_to_half": None}


@pytest.mark.parametrize(
    ("rates", "acted", "last"),
    [
        ((0.1, 0.2, 0.3), set(), 1),
        ((None, None, None), {1}, 1),
        ((0.1, 0.2, None), {1}, 1),
        ((0.1, 0.2, 0.3), {2}, 2),
        ((0.1, 0.2, 0.3), {1}, 2),
    ],
    ids=["no attack", "no success rate", "none after", "no round after", "may still act"],
)
def test_no_durability(rates, acted, last):
    assert durability(curve(*rates), acted, last) is None


def test_durability_of_a_schedule_that_outlives_the_run():
    rounds = [round_record(n, asr=0.5) for n in range(4)]
    clients = [client_record(1, 0, role="acting"), client_record(3, 1)]
    assert summary_of(rounds, clients, last_attack_round=9)["durability"] is None
    assert summary_of(rounds, clients, last_attack_round=2)["durability"]["last_round"] == 1


def test_failures_are_counted_by_reason():
    rows = [
        client_record(1, 0, failed="timeout"),
        client_record(1, 1, failed="non_finite"),
        client_record(2, 0, failed="timeout"),
        client_record(2, 1),
    ]
    rounds = [round_record(n, 0.1 + n / 3) for n in range(3)]
    assert summary_of(rounds, rows)["failures"] == {"non_finite": 1, "timeout": 2}


def test_the_twin_and_the_drop():
    rounds = [round_record(0, 0.1), round_record(1, 0.5, 0.9)]
    twin = {"hash": "aa", "accuracy": 0.75, "attack_success_rate": 0.1, "flags": []}
    found = summary_of(rounds, [], twin=twin)["clean_twin"]
    assert found == {
        "hash": "aa",
        "accuracy": 0.75,
        "attack_success_rate": 0.1,
        "accuracy_drop": 0.25,
    }
    unmeasured = summary_of(rounds, [], twin={**twin, "accuracy": None})["clean_twin"]
    assert unmeasured["accuracy_drop"] is None


def test_an_undefined_number_is_null():
    rounds = [round_record(0, 0.1), round_record(1, 0.9)]
    summary = summary_of(rounds, [], accuracy_per_class=(0.5, float("nan")))
    assert summary["accuracy_per_class"] == [0.5, None]


def test_a_summary_is_json():
    rounds = [round_record(0, 0.1), round_record(1, 0.5, 0.9), round_record(2, 0.6, 0.2)]
    clients = [client_record(1, 0, 0.0, "acting"), client_record(1, 1, 1.0)]
    summary = summary_of(rounds, clients, last_attack_round=1, assumed=2)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_half_is_of_what_was_last_measured_under_attack():
    rates = {0: 0.0, 4: 0.8, 8: 0.6, 12: 0.3}
    rounds = [round_record(r, 0.9, rates.get(r)) for r in range(13)]
    found = durability(rounds, {3, 4, 5}, 5)
    assert found == {"last_round": 5, "at": {}, "rounds_to_half": 7}


def test_nothing_has_no_half():
    rounds = [round_record(r, 0.9, 0.0) for r in range(13)]
    assert durability(rounds, {5}, 5)["rounds_to_half"] is None
