"""Every built-in constraint, a row each, against the laws that all constraints obey."""

import pickle
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.constraints import constraints
from fedsim.models import models
from fedsim.seeding import seeded
from fedsim.tensors import flatten_params
from fedsim.types import ConstraintView


class Row(NamedTuple):
    """Parameters, and the claim that a second application changes nothing (but for rounding).

    `is_mask` claims that a constraint on gradients sets coordinates to 0 and does nothing else.
    """

    name: str
    parameters: dict[str, Any]
    idempotent: bool = True
    is_mask: bool = False


ROWS = [
    Row("projection", {"norm": "l2", "radius": 0.5}),
    Row("projection", {"norm": "linf", "radius": 0.5, "every": 3}),
    Row("neurotoxin", {}, is_mask=True),
    Row("neurotoxin", {"ratio": 0.5}, is_mask=True),
    Row("stealth", {"distance": "l2"}, idempotent=False),
    Row("stealth", {"distance": "cosine", "weight": 0.0}, idempotent=False),
    Row("alternating", {}, idempotent=False),
    Row("alternating", {"clean_steps": 1, "rho": 2.0, "factor": 3.0}, idempotent=False),
    Row("pruning_aware", {}),
    Row("pruning_aware", {"fall": 0.5, "lower": 0.0}),
]


def on_gradient(row):
    return constraints.get(row.name).form == "gradient"


def studies(row):
    return constraints.get(row.name).form == "update"


def parametrized(chosen):
    return pytest.mark.parametrize("row", chosen, ids=lambda row: f"{row.name}-{row.parameters}")


rows = parametrized([row for row in ROWS if not on_gradient(row) and not studies(row)])
studying_rows = parametrized([row for row in ROWS if studies(row)])
gradient_rows = parametrized([row for row in ROWS if on_gradient(row)])
quick = settings(max_examples=25)


def test_every_built_in_constraint_has_a_row():
    built_in = {
        name
        for name in constraints.names()
        if constraints.get(name).function.__module__[:7] == "fedsim."
    }
    assert built_in == {row.name for row in ROWS}


@rows
@quick
@given(
    values=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=6),
    step=st.integers(1, 7),
    is_last=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_laws(row, values, step, is_last, dtype):
    update = torch.tensor(values, dtype=dtype)
    before = update.clone()
    constraint = constraints.build(row.name, **row.parameters)
    held = constraint(update, step, is_last)

    assert torch.equal(update, before)
    assert held.shape == update.shape
    assert held.dtype == dtype
    assert held.isfinite().all()
    assert (held.abs() <= update.abs()).all()
    assert torch.equal(constraint(update, step, is_last), held)
    if row.idempotent:
        torch.testing.assert_close(constraint(held, step, is_last), held)


@rows
def test_pickles_and_cites(row):
    constraint, update = constraints.build(row.name, **row.parameters), torch.randn(4)
    again = pickle.loads(pickle.dumps(constraint))(update, 1, True)
    assert torch.equal(again, constraint(update, 1, True))
    assert "Paper:" in (constraint.func.__doc__ or "")


# Constraints on gradients

floats = st.floats(-(2.0**100), 2.0**100, width=32)


@gradient_rows
@quick
@given(
    values=st.lists(st.tuples(*[floats] * 4), min_size=1, max_size=6),
    step=st.integers(1, 13),
    is_first=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_laws_on_gradients(row, values, step, is_first, dtype):
    gradient, update, params, previous = torch.tensor(values, dtype=dtype).T.contiguous()
    given_ = [tensor.clone() for tensor in (gradient, update, params, previous)]
    view = ConstraintView(update, params, step, False, None if is_first else previous)
    constraint = constraints.build(row.name, **row.parameters)
    held = constraint(gradient, view)

    for tensor, before in zip((gradient, update, params, previous), given_, strict=True):
        assert torch.equal(tensor, before)
    assert held.shape == gradient.shape
    assert held.dtype == dtype
    assert held.isfinite().all()
    assert torch.equal(constraint(gradient, view), held)
    if row.is_mask:
        assert torch.equal(held[held != 0], gradient[held != 0])
    if row.idempotent:
        assert torch.equal(constraint(held, view), held)


@gradient_rows
def test_facts_of_constraints_on_gradients(row):
    choice = constraints.choose(row.name, **row.parameters)
    assert set(choice.plugin.facts["needs"]) <= {"previous_update"}
    is_clean = choice.plugin.facts["is_clean"]
    if is_clean:
        turns = [is_clean(step, **choice.arguments) for step in range(1, 30)]
        assert {type(turn) for turn in turns} == {bool}
        assert {*turns} == {True, False}


@gradient_rows
def test_constraints_on_gradients_pickle_and_cite(row):
    constraint, gradient = constraints.build(row.name, **row.parameters), torch.randn(4)
    view = ConstraintView(torch.randn(4), torch.randn(4), 2, False, torch.randn(4))
    again = pickle.loads(pickle.dumps(constraint))(gradient, view)
    assert torch.equal(again, constraint(gradient, view))
    assert "Paper:" in (constraint.func.__doc__ or "")


# Constraints that study the model


def studied(row):
    """The parameters of a small network, and what the constraint finds in it; it stays as it is."""
    draw = torch.Generator().manual_seed(1)
    with seeded(2, "model"):
        model = models.build("mlp", hidden=[6])((1, 2, 2), 3).eval()
    params = flatten_params(model)
    images, labels = torch.rand(12, 1, 2, 2, generator=draw), torch.arange(12) % 3
    choice = constraints.choose(row.name, **row.parameters)
    found = choice.plugin.facts["study"](model, images, labels, **choice.arguments)
    assert torch.equal(flatten_params(model), params)
    return params, found


@studying_rows
@quick
@given(
    seed=st.integers(0, 100), step=st.integers(0, 7), is_last=st.booleans(), scale=st.floats(0, 1e6)
)
def test_laws_on_updates_of_a_studied_model(row, seed, step, is_last, scale):
    params, found = studied(row)
    update = scale * torch.randn(params.shape, generator=torch.Generator().manual_seed(seed))
    given_ = [tensor.clone() for tensor in (update, params, found)]
    view = ConstraintView(update, params, step, is_last, studied=found)
    constraint = constraints.build(row.name, **row.parameters)
    held = constraint(update, view)

    for tensor, before in zip((update, params, found), given_, strict=True):
        assert torch.equal(tensor, before)
    assert (held.shape, held.dtype) == (update.shape, update.dtype)
    assert held.isfinite().all()
    assert torch.equal(constraint(held, view), held)


@studying_rows
def test_constraints_that_study_pickle_and_cite(row):
    constraint, (params, found) = constraints.build(row.name, **row.parameters), studied(row)
    view = ConstraintView(torch.ones_like(params), params, 1, False, studied=found)
    again = pickle.loads(pickle.dumps(constraint))(view.update, view)
    assert torch.equal(again, constraint(view.update, view))
    assert "Paper:" in (constraint.func.__doc__ or "")


@studying_rows
def test_without_a_study_it_is_refused(row):
    view = ConstraintView(torch.ones(3), torch.ones(3), 1, False)
    with pytest.raises(ValueError, match=f"^{row.name}: .*study"):
        constraints.build(row.name, **row.parameters)(view.update, view)
