"""Each flag in a case where it must be raised and in the nearest where it must not."""

import pytest

from fedsim.results.flags import learning_threshold
from tests.results.result_records import client_record, flags_of, round_record

GOOD = [round_record(0, 0.1, 0.0), round_record(1, 0.8, 0.1), round_record(2, 0.9, 0.8)]
ATTACK = [
    client_record(1, 0, 0.5),
    client_record(1, 1, 0.5),
    client_record(2, 0, 0.5, "acting"),
    client_record(2, 1, 0.5),
]
TWIN = {"hash": "aa", "accuracy": 0.92, "attack_success_rate": 0.05}


def test_a_good_run_raises_none():
    found = flags_of(GOOD, ATTACK, last_attack_round=2, assumed=0, twin=TWIN)
    assert found == {}


def test_never_learned():
    flat = [round_record(0, 0.1), round_record(1, 0.149), round_record(2, 0.12)]
    flag = flags_of(flat, [])["never_learned"]
    assert flag == {
        "flag": "never_learned",
        "text": "Clean accuracy never reached 0.150: 0.100 at the start, 0.149 at best.",
        "rounds": [],
    }
    assert "never_learned" not in flags_of([*flat, round_record(3, 0.151)], [])
    assert "never_learned" not in flags_of([round_record(0, 0.1), round_record(1, None)], [])
    assert "never_learned" not in flags_of([round_record(0, 0.1)], [])


@pytest.mark.parametrize(
    ("initial", "classes", "threshold"),
    [(0.1, 10, 0.15), (0.2, 10, 0.25), (0.97, 10, 0.55), (0.5, 2, 0.55), (0.0, 100, 0.015)],
)
def test_learning_threshold(initial, classes, threshold):
    assert learning_threshold(initial, classes) == pytest.approx(threshold)


def test_asr_without_attack():
    before = [round_record(0, 0.1, 0.9), round_record(1, 0.8, 0.6), round_record(2, 0.9, 1.0)]
    flag = flags_of(before, ATTACK)["asr_without_attack"]
    assert flag["rounds"] == [1]  # a model that has learned nothing answers with one class
    assert "0.600 before anybody attacked" in flag["text"]
    trained = [round_record(0, 0.9, 0.9), round_record(1, 0.9, 0.9), round_record(2, 0.9, 1.0)]
    assert flags_of(trained, ATTACK)["asr_without_attack"]["rounds"] == [0, 1]
    twin = flags_of(GOOD, ATTACK, twin={**TWIN, "attack_success_rate": 0.7})
    assert twin["asr_without_attack"]["rounds"] == []
    assert "0.700 on the clean twin" in twin["asr_without_attack"]["text"]
    nobody = [client_record(number, 0) for number in (1, 2)]
    assert flags_of(GOOD, nobody)["asr_without_attack"]["rounds"] == [2]


def test_precondition_broken():
    flag = flags_of(GOOD, ATTACK, flag_rounds={"precondition_broken": [2]})["precondition_broken"]
    assert flag["rounds"] == [2]
    assert "1 of 2 rounds" in flag["text"]


def test_no_malicious_drawn():
    nobody = [client_record(1, 0), client_record(2, 1, role="resting")]
    flag = flags_of(GOOD, nobody, last_attack_round=2)["no_malicious_drawn"]
    assert flag["text"] == "No malicious client attacked in any of 2 rounds."
    assert "no_malicious_drawn" not in flags_of(GOOD, nobody, last_attack_round=None)


def test_replies_dropped():
    lost = [*ATTACK, client_record(2, 2, failed="lost"), client_record(2, 3, failed="timeout")]
    flag = flags_of(GOOD, lost)["replies_dropped"]
    assert flag["text"] == "Dropped 2 of 6 replies: 1 lost, 1 timeout."
    assert flag["rounds"] == [2]


def test_baseline_unharmed():
    weak = [*GOOD[:2], round_record(2, 0.915, 0.06)]
    text = flags_of(weak, ATTACK, twin=TWIN)["baseline_unharmed"]["text"]
    assert "accuracy by -0.005" in text
    assert "success by +0.010" in text
    assert "baseline_unharmed" not in flags_of(weak, ATTACK)
    assert "baseline_unharmed" not in flags_of(weak, [], twin=TWIN)
    slower = [*GOOD[:2], round_record(2, 0.89, 0.06)]
    assert "baseline_unharmed" not in flags_of(slower, ATTACK, twin=TWIN)


def test_an_attack_that_faded_was_no_harmless_one():
    faded = [*GOOD, round_record(3, 0.92, 0.05)]
    assert "baseline_unharmed" not in flags_of(faded, ATTACK, twin=TWIN)


def test_an_untargeted_attack_is_judged_by_accuracy_alone():
    rounds = [round_record(0, 0.1), round_record(1, 0.8), round_record(2, 0.91)]
    twin = {**TWIN, "attack_success_rate": None}
    text = flags_of(rounds, ATTACK, twin=twin)["baseline_unharmed"]["text"]
    assert "success" not in text


def test_assumed_more_than_true():
    flag = flags_of(GOOD, ATTACK, assumed=1)["assumed_more_than_true"]
    assert flag["rounds"] == [1]
    assert "assumes 1" in flag["text"]
    assert "1 of 2 rounds had fewer, down to 0" in flag["text"]
    resting = [client_record(1, 0, role="resting"), *ATTACK[1:]]
    assert "assumed_more_than_true" not in flags_of(GOOD, resting, assumed=1)
    assert "assumed_more_than_true" not in flags_of(GOOD, ATTACK, assumed=None)


def test_the_order_is_that_of_the_contract():
    flat = [round_record(0, 0.1, 0.9), round_record(1, 0.1, 0.9), round_record(2, 0.1, 0.9)]
    lost = [client_record(1, 0, failed="lost")]
    found = flags_of(
        flat,
        lost,
        assumed=1,
        last_attack_round=2,
        twin={**TWIN, "attack_success_rate": 0.9},
        flag_rounds={"precondition_broken": [1], "another": [2, 1]},
    )
    assert list(found) == [
        "never_learned",
        "asr_without_attack",
        "precondition_broken",
        "no_malicious_drawn",
        "replies_dropped",
        "assumed_more_than_true",
        "another",
    ]
    assert found["another"]["rounds"] == [1, 2]
