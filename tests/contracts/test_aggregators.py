"""The laws of aggregation rules: a row for every registered rule says which of them it keeps."""

import copy
import io
import pickle
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.aggregators import aggregators, lift
from fedsim.registry import plugins
from fedsim.types import Aggregate, Layers, ServerView

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Row(NamedTuple):
    """A rule with its parameters and what it claims on one round from an empty state.

    permutation: the order of the clients changes nothing (weights move along).
    translation, scaling: what is done to every row is done to the update.
    identical: equal rows give that row. hull: between the least and the largest, per coordinate.
    convex: weights are ≥ 0, sum to 1 and `weights @ updates` is the update.
    resists: one far row among three or more does not count at all.
    """

    name: str
    parameters: dict[str, Any]
    claims: str


AVERAGE = "permutation translation scaling identical hull convex"
ROWS = [
    Row("mean", {}, AVERAGE),
    Row("mean", {"weighting": "examples"}, AVERAGE),
    Row("auror", {}, AVERAGE),
    Row(
        "auror",
        {"observe_rounds": 1, "alpha": 0.5},
        "permutation translation identical hull convex resists",
    ),
    Row(
        "auror",
        {"observe_rounds": 1, "alpha": 0.5, "features": "last"},
        "permutation translation identical hull convex resists",
    ),
]

# Quarters: sums of a few are exact, so that a rule that decides must decide the same way.
quarters = st.integers(-32, 32).map(lambda number: number / 4)


@st.composite
def stacks(draw, least=1):
    n, d = draw(st.integers(least, 7)), draw(st.integers(2, 5))
    rows = draw(st.lists(st.lists(quarters, min_size=d, max_size=d), min_size=n, max_size=n))
    return torch.tensor(rows)


def run(row: Row, updates: torch.Tensor, ids: list[int] | None = None, **known: Any) -> Aggregate:
    """One round of the rule; client k reports k + 1 examples."""
    ids = list(range(len(updates))) if ids is None else ids
    d = updates.shape[1]
    view = ServerView(
        client_ids=tuple(ids),
        num_examples=torch.tensor(ids) + 1,
        params=updates.new_zeros(d),
        layers=Layers({"first.weight": slice(0, 1), "last.weight": slice(1, d)}),
        generator=torch.Generator().manual_seed(3),
        **known,
    )
    return lift(aggregators.choose(row.name, **row.parameters))(updates, view)


def label(row: Row) -> str:
    return " ".join([row.name, *(f"{key}={value}" for key, value in row.parameters.items())])


def law(claim: str | None = None):
    """Run a test for all rows, or for those that make the claim."""
    rows = [row for row in ROWS if claim is None or claim in row.claims.split()]
    return pytest.mark.parametrize("row", rows, ids=label)


def same(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def test_every_rule_has_a_row():
    own = {p.name for p in plugins("aggregators") if p.function.__module__.startswith("fedsim.")}
    assert {row.name for row in ROWS} == own


@law()
@settings(max_examples=25)
@given(updates=stacks())
def test_shapes_and_no_change_in_place(row, updates):
    before = updates.clone()
    outcome = run(row, updates)
    assert torch.equal(updates, before)
    assert outcome.update.shape == updates.shape[1:]
    assert outcome.update.isfinite().all()
    assert outcome.weights is None or outcome.weights.shape == updates.shape[:1]


@law()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@settings(max_examples=10)
@given(updates=stacks())
def test_dtype_is_that_of_the_updates(row, dtype, updates):
    outcome = run(row, updates.to(dtype))
    assert outcome.update.dtype == dtype
    assert outcome.weights is None or outcome.weights.dtype == dtype
    torch.testing.assert_close(outcome.update.float(), run(row, updates).update, **TOLERANCE)


@law()
@settings(max_examples=10)
@given(updates=stacks())
def test_same_generator_same_bits_also_after_pickling(row, updates):
    first = run(row, updates)
    again = run(row, updates)
    assert same(first.update, again.update)
    assert same(first.weights, again.weights)
    rule = pickle.loads(pickle.dumps(lift(aggregators.choose(row.name, **row.parameters))))
    view = ServerView(
        client_ids=tuple(range(len(updates))),
        num_examples=torch.arange(len(updates)) + 1,
        params=torch.zeros(updates.shape[1]),
        layers=Layers({"first.weight": slice(0, 1), "last.weight": slice(1, updates.shape[1])}),
        generator=torch.Generator().manual_seed(3),
    )
    assert same(rule(updates, view).update, first.update)


@law()
@settings(max_examples=10)
@given(updates=stacks())
def test_state_is_a_value_that_can_be_saved(row, updates):
    state = run(row, updates).state
    kept = copy.deepcopy(dict(state))
    second = run(row, updates, state=state, round=2)
    assert state.keys() == kept.keys()
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    file = io.BytesIO()
    torch.save(dict(state), file)
    file.seek(0)
    loaded = torch.load(file, weights_only=True)
    assert same(run(row, updates, state=loaded, round=2).update, second.update)


@law("permutation")
@settings(max_examples=25)
@given(updates=stacks(), data=st.data())
def test_permutation(row, updates, data):
    order = data.draw(st.permutations(range(len(updates))))
    plain, moved = run(row, updates), run(row, updates[order], order)
    torch.testing.assert_close(moved.update, plain.update, **TOLERANCE)
    if plain.weights is not None:
        torch.testing.assert_close(moved.weights, plain.weights[order], **TOLERANCE)


@law("translation")
@settings(max_examples=25)
@given(updates=stacks(), by=quarters)
def test_translation(row, updates, by):
    moved = run(row, updates + by).update
    torch.testing.assert_close(moved, run(row, updates).update + by, **TOLERANCE)


@law("scaling")
@settings(max_examples=25)
@given(updates=stacks(), by=st.sampled_from([0.5, 2.0, 8.0]))
def test_scaling(row, updates, by):
    scaled = run(row, updates * by).update
    torch.testing.assert_close(scaled, run(row, updates).update * by, **TOLERANCE)


@law("identical")
@settings(max_examples=25)
@given(updates=stacks(), n=st.integers(1, 9))
def test_identical_rows(row, updates, n):
    outcome = run(row, updates[:1].repeat(n, 1))
    torch.testing.assert_close(outcome.update, updates[0], **TOLERANCE)


@law("hull")
@settings(max_examples=25)
@given(updates=stacks())
def test_hull(row, updates):
    update = run(row, updates).update
    assert (update >= updates.min(dim=0).values - 1e-5).all()
    assert (update <= updates.max(dim=0).values + 1e-5).all()


@law("convex")
@settings(max_examples=25)
@given(updates=stacks())
def test_convex(row, updates):
    update, weights, _ = run(row, updates)
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(weights @ updates, update, **TOLERANCE)


@law("resists")
@settings(max_examples=25)
@given(updates=stacks(least=3), data=st.data())
def test_resists(row, updates, data):
    far = data.draw(st.integers(0, len(updates) - 1))
    updates[far] = 1e6
    assert run(row, updates).update.abs().max() <= 8
