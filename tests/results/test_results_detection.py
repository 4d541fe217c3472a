"""Who was accused, against a hand-worked case and a brute-force count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsim.results.detection import auc, detection
from tests.results.result_records import client_record


def test_a_hand_worked_round():
    rows = [
        client_record(1, 0, 0.0, "acting"),
        client_record(1, 1, 0.25, "acting"),
        client_record(1, 2, 0.0),
        client_record(1, 3, 0.25),
        client_record(1, 4, 0.5),
    ]
    # accused: 0 (rightly) and 2 (wrongly). Pairs: 0 against 0, ¼, ½ → ½ + 1 + 1;
    # ¼ against 0, ¼, ½ → 0 + ½ + 1; together 4 of 6.
    assert detection(rows) == {
        "precision": 1 / 2,
        "recall": 1 / 2,
        "false_positive_rate": 1 / 3,
        "auc": 4 / 6,
    }


def test_rounds_are_summed_before_dividing():
    first = [client_record(1, 0, 0.0, "acting"), client_record(1, 1, 1.0)]
    second = [
        client_record(2, 0, 0.5, "acting"),
        client_record(2, 1, 0.0),
        client_record(2, 2, 0.5),
        client_record(2, 3, 0.5),
    ]
    found = detection(first + second)
    assert found["recall"] == 1 / 2
    assert found["precision"] == 1 / 2
    assert found["false_positive_rate"] == 1 / 4


def test_what_is_left_out():
    rows = [client_record(1, 0, 0.0, "acting"), client_record(1, 1, 0.5)]
    extra = [
        client_record(1, 2, 0.0, "resting"),  # an attacker at rest is neither
        client_record(1, 3, None, failed="timeout"),
        client_record(1, 4, 0.0, "acting", failed="non_finite"),
        client_record(2, 0, 0.0, "resting"),  # nobody acts in round 2
        client_record(2, 1, 0.0),
        client_record(3, 0, None, "acting"),  # the precondition broke in round 3
        client_record(3, 1, None),
    ]
    assert detection(rows + extra) == detection(rows)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [client_record(1, 0, 0.5), client_record(1, 1, 0.5)],
        [client_record(1, 0, 0.0, "resting"), client_record(1, 1, 0.5)],
        [client_record(1, 0, None, "acting"), client_record(1, 1, None)],
    ],
    ids=["no rows", "nobody malicious", "nobody acts", "no weights"],
)
def test_where_it_does_not_apply(rows):
    assert detection(rows) is None


def test_ratios_over_nothing():
    failed = client_record(1, 0, None, "acting", failed="lost")
    nobody = {"precision": None, "recall": None, "false_positive_rate": 0.0, "auc": None}
    assert detection([failed, client_record(1, 1, 0.5)]) == nobody
    assert detection([failed, client_record(1, 1, 0.0)]) == {
        **nobody,
        "precision": 0.0,
        "false_positive_rate": 1.0,
    }
    kept = detection([client_record(1, 0, 0.5, "acting"), client_record(1, 1, 0.5)])
    assert kept == {"precision": None, "recall": 0.0, "false_positive_rate": 0.0, "auc": 0.5}
    alone = detection([client_record(1, 0, 0.0, "acting")])
    assert alone == {"precision": 1.0, "recall": 1.0, "false_positive_rate": None, "auc": None}


weights = st.lists(st.sampled_from([0.0, 0.1, 0.1 + 2**-56, 0.2, 0.5, 1.0]), max_size=12)


@given(weights, weights)
def test_auc_counts_pairs(positives, negatives):
    pairs = [(p, n) for p in positives for n in negatives]
    won = sum(1.0 if p < n else 0.5 if p == n else 0.0 for p, n in pairs)
    assert auc(positives, negatives) == (won / len(pairs) if pairs else None)


def test_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    positives, negatives = [0.0, 0.0, 0.1, 0.3], [0.0, 0.1, 0.2, 0.2, 0.4]
    truth, scores = [1] * 4 + [0] * 5, [-w for w in positives + negatives]
    assert auc(positives, negatives) == pytest.approx(roc_auc_score(truth, scores))
