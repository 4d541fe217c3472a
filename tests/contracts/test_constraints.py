"""Every built-in constraint, a row each, against the laws that all constraints obey."""

import pickle
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.constraints import constraints


class Row(NamedTuple):
    """Parameters, and the claim that a second application changes nothing (but for rounding)."""

    name: str
    parameters: dict[str, Any]
    idempotent: bool = True


ROWS = [
    Row("projection", {"norm": "l2", "radius": 0.5}),
    Row("projection", {"norm": "linf", "radius": 0.5, "every": 3}),
]

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.parameters}")
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
