"""Scores against scikit-learn and by hand; a model that has diverged scores nothing."""

import math

import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, recall_score

from fedsim.metrics.accuracy import accuracy
from fedsim.metrics.accuracy_per_class import accuracy_per_class
from fedsim.metrics.attack_success_rate import attack_success_rate
from fedsim.metrics.loss import loss
from fedsim.metrics.robust_accuracy import robust_accuracy
from fedsim.registry import plugins

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(500, 7, generator=GENERATOR)
LABELS = torch.randint(7, (500,), generator=GENERATOR)
SHARES = [accuracy, attack_success_rate, robust_accuracy]


@pytest.mark.parametrize("share", SHARES)
def test_shares_against_sklearn(share):
    assert share(LOGITS, LABELS) == pytest.approx(accuracy_score(LABELS, LOGITS.argmax(dim=1)))


def test_the_attack_succeeds_where_the_expected_class_is_predicted():
    logits = torch.eye(4)[[2, 2, 0, 3]]
    assert attack_success_rate(logits, torch.tensor([2, 2, 2, 2])) == 0.5
    assert attack_success_rate(logits, torch.tensor([3, 3, 1, 0])) == 0.0  # all to all: (y + 1)
    assert robust_accuracy(logits, torch.tensor([2, 2, 0, 1])) == 0.75


@pytest.mark.parametrize("share", SHARES)
def test_equal_logits_go_to_the_lowest_class(share):
    assert share(torch.zeros(2, 3), torch.tensor([0, 1])) == 0.5


@pytest.mark.parametrize("share", SHARES)
def test_a_model_that_has_diverged_predicts_nothing(share):
    logits = torch.full((4, 3), torch.nan)
    logits[0] = torch.tensor([1.0, 0.0, 0.0])
    assert share(logits, torch.zeros(4, dtype=torch.int64)) == 0.25


@pytest.mark.parametrize("share", SHARES)
def test_no_rows_are_refused(share):
    with pytest.raises(ValueError, match="at least one row"):
        share(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))


def test_loss_against_sklearn():
    expected = log_loss(LABELS, LOGITS.double().softmax(dim=1), labels=range(7))
    assert loss(LOGITS, LABELS) == pytest.approx(expected)


def test_loss_of_large_and_of_broken_logits():
    assert loss(torch.tensor([[1e4, 0.0]]), torch.tensor([1])) == 1e4
    assert math.isnan(loss(torch.tensor([[math.nan, 0.0]]), torch.tensor([1])))


def test_accuracy_per_class_is_the_recall():
    expected = recall_score(LABELS, LOGITS.argmax(dim=1), average=None)
    assert accuracy_per_class(LOGITS, LABELS).tolist() == pytest.approx(expected.tolist())


def test_accuracy_per_class_is_nan_where_there_is_none():
    shares = accuracy_per_class(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 1, 1]), num_classes=5)
    assert shares[:2].tolist() == [1.0, 0.5]
    assert shares[2:].isnan().all()
    assert len(shares) == 5


def test_every_metric_declares_its_direction_and_bounds():
    facts = {plugin.name: plugin.facts for plugin in plugins("metrics")}
    better = {name for name in facts if facts[name]["higher_is_better"]}
    assert better == {"accuracy", "accuracy_per_class", "robust_accuracy"}
    assert facts.keys() - better == {"attack_success_rate", "loss"}
    assert {name: facts[name]["bounds"] for name in facts if name != "loss"} == {
        name: (0.0, 1.0) for name in facts if name != "loss"
    }
    assert facts["loss"]["bounds"] == (0.0, None)
