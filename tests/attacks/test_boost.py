"""Boosting: the numbers of the papers, and that it replaces the model as promised."""

import pytest
import torch

from fedsim.attacks import attacks
from fedsim.attacks.boost import boost
from fedsim.types import AdversaryView

OWN = torch.tensor([[1.0, -2.0, 0.0], [0.5, 0.0, 4.0]])


def view(own=OWN, **given):
    return AdversaryView(own=own, num_clients=10, params=torch.zeros(own.shape[1]), **given)


def test_rows_times_factor():
    assert boost(view(), factor=100.0).tolist() == [[100.0, -200.0, 0.0], [50.0, 0.0, 400.0]]


def test_auto_is_cohort_over_server_rate():
    assert torch.equal(boost(view(), factor="auto"), 10 * OWN)
    assert torch.equal(boost(view(server_lr=0.1), factor="auto"), 100 * OWN)
    shares = torch.full((2,), 0.1)
    assert torch.equal(boost(view(shares=shares), factor="auto"), 10 * OWN)


def test_auto_follows_each_rows_share():
    sent = boost(view(shares=torch.tensor([0.5, 0.125]), server_lr=0.5), factor="auto")
    assert torch.equal(sent, torch.tensor([[4.0], [16.0]]) * OWN)


@pytest.mark.parametrize("server_lr", [1.0, 0.1])
def test_auto_replaces_the_model_where_the_others_have_converged(server_lr):
    params, wanted = torch.tensor([1.0, 2.0]), torch.tensor([-3.0, 5.0])
    attacker = (wanted - params)[None]
    sent = boost(view(attacker, server_lr=server_lr), factor="auto")
    updates = torch.cat([sent, torch.zeros(9, 2)])
    torch.testing.assert_close(params + server_lr * updates.mean(dim=0), wanted)


@pytest.mark.parametrize("buffers", [False, True])
def test_buffers_is_a_fact_for_the_engine_and_any_width_of_rows_is_boosted(buffers):
    changes = torch.ones(2, 7)
    assert torch.equal(boost(view(changes), factor=3.0, buffers=buffers), 3 * changes)
    choice = attacks.choose("boost", factor=3.0, buffers=buffers)
    assert choice.arguments["buffers"] is buffers


@pytest.mark.parametrize(
    "given", [{"server_lr": 0.0}, {"server_lr": -1.0}, {"shares": torch.tensor([0.5, 0.0])}]
)
def test_auto_without_weight_is_refused(given):
    with pytest.raises(
        ValueError, match=r"^boost: factor auto needs positive shares and server_lr"
    ):
        boost(view(**given), factor="auto")


@pytest.mark.parametrize("factor", [0, -1.0, "car", float("inf"), float("nan"), None, True])
def test_factor_is_positive_or_auto(factor):
    with pytest.raises(ValueError, match="boost: factor"):
        attacks.build("boost", factor=factor)


def test_factor_is_required():
    with pytest.raises(ValueError, match="boost: factor: is required"):
        attacks.build("boost")
