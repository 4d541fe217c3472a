"""AUROR against its definition, written once more the slow way, and on examples by hand."""

import io
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.aggregators.auror import _two_means, auror
from fedsim.types import Layers, ServerView


def call(rows, *, ids=None, state=None, layers=None, **parameters):
    rows = torch.as_tensor(rows)
    view = ServerView(
        client_ids=tuple(range(len(rows)) if ids is None else ids),
        num_examples=torch.ones(len(rows)),
        params=rows.new_zeros(rows.shape[1]),
        layers=layers or Layers(),
        state=state or {},
    )
    return auror(rows, view, **parameters)


def flagged(rows, **parameters):
    return call(rows, observe_rounds=1, **parameters).state["flagged"].tolist()


def column(*values):
    return torch.tensor(values)[:, None]


# The definition once more: nothing is sorted, every way to part the clients in two is tried.


def squares(values):
    return ((values - values.mean()) ** 2).sum()


def best_parting(values):
    """(cluster, the others) with the least squares, over all partings of the clients in two."""
    clients = range(len(values))
    partings = [
        (list(some), [c for c in clients if c not in some])
        for size in range(1, len(values))
        for some in combinations(clients, size)
    ]
    return min(partings, key=lambda two: sum(squares(values[side]) for side in two))


def reference(history, alpha, tau):
    """The flagged clients after `history`, a list of {client: row}, was observed."""
    clients = sorted({client for rows in history for client in rows})
    means = np.array([np.mean([rows[c] for rows in history if c in rows], axis=0) for c in clients])
    indicative, landed = 0, np.zeros(len(clients))
    for values in means.T:
        if len(set(values)) < 2:
            continue
        two = best_parting(values)
        if abs(values[two[0]].mean() - values[two[1]].mean()) <= alpha:
            continue
        indicative += 1
        for side in two:
            if len(side) < len(clients) / 2:
                landed[side] += 1
    return [c for c, times in zip(clients, landed, strict=True) if times > tau * indicative]


@settings(max_examples=60)
@given(
    n=st.integers(2, 8),
    d=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    alpha=st.sampled_from([0.0, 1.5, 2.0, 9.0]),
    tau=st.sampled_from([0.0, 0.3, 0.5, 0.8]),
)
def test_one_round_against_the_definition(n, d, seed, alpha, tau):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    expected = reference([dict(enumerate(rows))], alpha, tau)
    outcome = call(torch.tensor(rows), observe_rounds=1, alpha=alpha, tau=tau)
    assert outcome.state["flagged"].tolist() == expected
    kept = [c for c in range(n) if c not in expected]
    np.testing.assert_allclose(outcome.update.numpy(), rows[kept].mean(axis=0) if kept else 0)


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), rounds=st.integers(1, 4))
def test_clients_that_come_and_go_against_the_definition(seed, rounds):
    generator = np.random.default_rng(seed)
    history, state = [], {}
    for _ in range(rounds):
        ids = generator.choice(9, size=4, replace=False).tolist()  # in any order
        rows = generator.normal(size=(4, 3)) + 4 * (np.array(ids)[:, None] < 2)
        history.append(dict(zip(ids, rows, strict=True)))
        outcome = call(torch.tensor(rows), ids=ids, state=state, observe_rounds=rounds, alpha=1.5)
        state = outcome.state
    expected = reference(history, 1.5, 0.5)
    kept = [client not in expected for client in ids]
    assert state["flagged"].tolist() == expected
    assert outcome.weights.tolist() == pytest.approx([keep / max(1, sum(kept)) for keep in kept])


@settings(max_examples=100)
@given(st.lists(st.integers(-6, 6).map(lambda q: q / 4), min_size=2, max_size=8))
def test_two_means_is_optimal_whatever_the_ties(values):
    gap, size, highest = (t.item() for t in _two_means(torch.tensor([values]).double()))
    array = np.array(values)
    if len(set(values)) == 1:
        assert gap == 0
        return
    lower = array <= highest
    assert lower.sum() == size
    assert gap == pytest.approx(array[~lower].mean() - array[lower].mean())
    least = sum(squares(array[side]) for side in best_parting(array))
    assert squares(array[lower]) + squares(array[~lower]) == pytest.approx(least)


def test_two_means_by_hand():
    gap, size, highest = _two_means(torch.tensor([[5.0, 0.0, 1.0, 6.0, 0.5]]).double())
    assert (gap.item(), size.item(), highest.item()) == (5.0, 3, 1.0)


# By hand


def test_the_one_apart_is_left_out_at_once():
    update, weights, state = call(column(0.0, 0.3, 9.0, 0.6), observe_rounds=1)
    assert update.item() == pytest.approx(0.3)
    assert weights.tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3])
    assert state["flagged"].tolist() == [2]


def test_the_lower_cluster_is_suspicious_as_well():
    assert flagged(column(0.0, 0.3, -9.0, 0.6)) == [2]


def test_a_distance_of_alpha_is_not_enough():
    values = column(0.0, 0.0, 0.0, 0.5)
    assert flagged(values, alpha=0.5) == []
    assert flagged(values, alpha=0.4999) == [3]


def test_a_coordinate_at_a_distance_of_alpha_does_not_count():
    rows = torch.zeros(5, 2)
    rows[3, 0], rows[4, 1] = 0.5, 9.0
    assert flagged(rows, alpha=0.5) == [4]
    assert flagged(rows, alpha=0.4) == []


def test_half_of_the_clients_are_not_fewer_than_half():
    assert flagged(column(0.0, 0.0, 1.0, 1.0)) == []
    assert flagged(column(0.0, 0.0, 0.0, 1.0, 1.0)) == [3, 4]


def test_a_share_of_tau_is_not_enough():
    both, once = [9.0, 9.0], [9.0, 0.0]
    honest = [[0.0, 0.0]] * 5
    assert flagged(torch.tensor([*honest, both, once])) == [5]
    assert flagged(torch.tensor([*honest, both, once]), tau=0.49) == [5, 6]
    assert flagged(torch.tensor([*honest, both, once]), tau=1.0) == []


def test_a_share_is_one_of_the_indicative_coordinates():
    rows = torch.zeros(5, 10)
    rows[4, 0] = 1.0
    assert flagged(rows) == [4]


def test_of_equally_good_splits_the_lower_cluster_is_small():
    assert flagged(column(-1.0, 0.0, 1.0)) == [0]


def test_no_indicative_coordinate_drops_nobody():
    update, weights, state = call(column(0.0, 0.0, 1.0), alpha=5.0, observe_rounds=1)
    assert state["flagged"].tolist() == []
    assert weights.tolist() == pytest.approx([1 / 3] * 3)
    assert update.item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_clients_have_no_minority(n):
    assert flagged(torch.arange(n).float()[:, None] * 100) == []


def test_identical_rows_drop_nobody_however_often_each_was_seen():
    row, state = torch.rand(100, generator=torch.Generator().manual_seed(1)), {}
    for ids in ([0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 5, 6]):
        known = {"state": state, "observe_rounds": 3, "alpha": 0.0, "tau": 0.0}
        outcome = call(row.repeat(4, 1), ids=ids, **known)
        state = outcome.state
    assert state["flagged"].tolist() == []
    assert torch.equal(outcome.update, row)


# Over the rounds


def test_it_averages_until_the_last_observed_round():
    rows, state = column(0.0, 0.0, 0.0, 4.0), {}
    weights = []
    for _ in range(4):
        outcome = call(rows, state=state, observe_rounds=3)
        state = outcome.state
        weights.append(outcome.weights[3].item())
    assert weights == [0.25, 0.25, 0, 0]


def test_the_mean_of_all_observed_rows_decides():
    first, second = column(0.0, 0.0, 0.0, 6.0, 0.0), column(0.0, 0.0, 0.0, -6.0, 1.0)
    state = call(first, observe_rounds=2).state
    assert call(second, state=state, observe_rounds=2).state["flagged"].tolist() == [4]
    assert call(second, state=state, observe_rounds=2, alpha=0.5).state["flagged"].numel() == 0


def test_the_flagged_stay_out_for_good_and_newcomers_are_accepted():
    state = call(column(0.0, 0.0, 0.0, 9.0), observe_rounds=1).state
    for _ in range(3):  # now the flagged one behaves and a newcomer does not
        outcome = call(column(0.0, 50.0, 2.0), ids=[3, 77, 0], state=state, observe_rounds=1)
        state = outcome.state
        assert outcome.weights.tolist() == [0, 0.5, 0.5]
        assert outcome.update.item() == 26.0


def test_a_client_absent_from_the_deciding_round_is_judged_too():
    state = call(column(0.0, 0.0, 9.0), ids=[0, 1, 7], observe_rounds=2).state
    outcome = call(column(0.0, 0.0, 0.0), ids=[2, 3, 4], state=state, observe_rounds=2)
    assert outcome.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert outcome.state["flagged"].tolist() == [7]


def test_a_cohort_of_the_flagged_alone_moves_nothing():
    rows = torch.tensor([[0.0], [0.0], [0.0], [9.0], [9.0]])
    state = call(rows, observe_rounds=1).state
    update, weights, _ = call(rows[3:], ids=[3, 4], state=state, observe_rounds=1)
    assert update.tolist() == [0]
    assert weights.tolist() == [0, 0]


def test_the_order_of_rows_changes_nothing():
    generator = torch.Generator().manual_seed(2)
    rows = torch.randn(9, 30, generator=generator)
    rows[[1, 5, 6]] += 3
    order = torch.randperm(9, generator=generator)
    plain = call(rows, observe_rounds=1)
    moved = call(rows[order], ids=order.tolist(), observe_rounds=1)
    assert plain.state["flagged"].tolist() == [1, 5, 6] == moved.state["flagged"].tolist()
    assert torch.equal(plain.weights[order], moved.weights)


def saved(state):
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_the_state_can_be_saved_at_any_time():
    generator, plain, resumed = torch.Generator().manual_seed(4), {}, {}
    for ids in ([5, 1, 3, 8], [1, 2, 3, 9], [8, 5, 2, 1], [9, 8, 1, 0], [0, 1, 2, 3]):
        rows = torch.randn(4, 6, generator=generator) + 5 * (torch.tensor(ids)[:, None] > 7)
        a = call(rows, ids=ids, state=plain, observe_rounds=3)
        b = call(rows, ids=ids, state=resumed, observe_rounds=3)
        plain, resumed = a.state, saved(b.state)
        assert torch.equal(a.update, b.update)
    assert plain["flagged"].tolist() == [8, 9]


def test_after_the_decision_only_the_flagged_are_remembered():
    rows = column(0.0, 0.0, 9.0)
    before, after = call(rows, observe_rounds=2).state, call(rows, observe_rounds=1).state
    assert set(before) == {"ids", "sums", "counts", "rounds"}
    assert set(after) == {"flagged"}


# Numbers


def test_few_coordinates_at_a_time_give_the_same(monkeypatch):
    rows = torch.randn(7, 40, generator=torch.Generator().manual_seed(5))
    rows[2] += 2
    whole = call(rows, observe_rounds=1).weights
    monkeypatch.setattr("fedsim.aggregators.auror._CHUNK", 15)
    assert torch.equal(call(rows, observe_rounds=1).weights, whole)


@pytest.mark.parametrize("offset", [4096.0, -1e9, 1e12])
def test_a_large_common_offset_changes_nothing(offset):
    generator = torch.Generator().manual_seed(6)
    rows = torch.randint(-8, 9, (9, 50), generator=generator).double() / 64
    rows[[0, 4]] += 0.25
    assert flagged(rows, alpha=0.1) == [0, 4] == flagged(rows + offset, alpha=0.1)


def test_a_large_common_offset_costs_two_means_no_digits():
    values = torch.tensor([[0.0, 0.25, 0.0, 0.0, 0.5, 0.25, 0.0]]).double()
    assert torch.equal(_two_means(values + 2.0**50)[0], _two_means(values)[0])


@pytest.mark.parametrize("huge", [1e30, -1e30])
def test_a_huge_row_is_seen_and_left_out(huge):
    rows = torch.zeros(5, 3)
    rows[1] = huge
    outcome = call(rows, observe_rounds=1)
    assert outcome.state["flagged"].tolist() == [1]
    assert outcome.update.tolist() == [0, 0, 0]


def test_a_state_of_another_width_is_refused():
    state = call(torch.zeros(3, 4)).state
    with pytest.raises(ValueError, match="auror: the state is of 4 coordinates; got rows of 5"):
        call(torch.zeros(3, 5), state=state)


# Features

LAYERS = Layers({"a.weight": slice(0, 4), "b.weight": slice(4, 6), "b.bias": slice(6, 7)})


def test_the_last_layer_alone():
    rows = torch.zeros(5, 7)
    rows[0, :4] = 1.0  # apart in the first layer
    rows[1, 4:] = 1.0  # apart in the last
    assert flagged(rows, layers=LAYERS, features="last") == [1]
    assert flagged(rows, layers=LAYERS, features="all") == [0]
    assert call(rows, layers=LAYERS, features="last").state["sums"].shape == (5, 3)


def test_a_last_layer_without_bias():
    layers = Layers({"a.weight": slice(0, 4), "b.weight": slice(4, 7)})
    assert call(torch.zeros(5, 7), layers=layers, features="last").state["sums"].shape == (5, 3)


def test_the_last_layer_needs_layers():
    with pytest.raises(ValueError, match="auror: features 'last' needs layers"):
        call(torch.zeros(3, 7), features="last")


# Attackers


def test_planted_attackers_are_found():
    generator = torch.Generator().manual_seed(7)
    rows = torch.randn(30, 500, generator=generator) * 2e-3
    attackers = [3, 4, 11, 20, 21, 28]
    rows[attackers, -40:] += 0.05
    assert flagged(rows) == attackers
    assert flagged(rows[[c for c in range(30) if c not in attackers]]) == []


def test_clients_that_relabel_a_class_are_found():
    generator = torch.Generator().manual_seed(8)
    centres = 2 * torch.randn(4, 20, generator=generator)
    attackers, rows = [2, 9, 10], []
    for client in range(12):
        truth = torch.randint(4, (200,), generator=generator)
        truth = torch.zeros_like(truth) if client in attackers else truth
        labels = torch.ones_like(truth) if client in attackers else truth
        images = centres[truth] + torch.randn(200, 20, generator=generator)
        weight = torch.zeros(4, 20, requires_grad=True)
        torch.nn.functional.cross_entropy(images @ weight.T, labels).backward()
        rows.append(-0.1 * weight.grad.flatten())
    assert flagged(torch.stack(rows)) == attackers
