"""Projection against a NumPy reference, and its schedule."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.constraints import constraints
from fedsim.constraints.projection import projection


def reference(update: np.ndarray, norm: str, radius: float) -> np.ndarray:
    """The nearest point of the ball, written with loops and plain floats."""
    if norm == "linf":
        return np.array([max(-radius, min(radius, float(x))) for x in update])
    length = sum(float(x) ** 2 for x in update) ** 0.5
    return update if length <= radius else update.astype(np.float64) / length * radius


@settings(max_examples=100)
@given(
    values=st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=8),
    norm=st.sampled_from(["l2", "linf"]),
    radius=st.floats(1e-3, 1e3),
)
def test_equals_the_reference(values, norm, radius):
    update = np.array(values, dtype=np.float32)
    got = projection(torch.from_numpy(update), 1, False, norm=norm, radius=radius).numpy()
    np.testing.assert_allclose(got, reference(update, norm, radius), rtol=1e-5, atol=1e-30)


def test_inside_the_ball_nothing_moves_by_a_bit():
    update = torch.tensor([0.1, -0.2, 0.3])
    for norm in ("l2", "linf"):
        assert torch.equal(projection(update, 1, False, norm=norm, radius=1.0), update)


def test_sun_et_al_bound_survives_the_boost():
    bound, boost = 10.0, 30.0
    held = projection(torch.randn(1000), 1, True, norm="l2", radius=bound / boost)
    torch.testing.assert_close((boost * held).norm(), torch.tensor(bound))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_applies_at_every_third_and_the_last_step(norm):
    update = torch.tensor([8.0])
    held = [
        projection(update, step, step == 7, norm=norm, radius=1.0, every=3).item()
        for step in range(1, 8)
    ]
    assert held == [8, 8, 1, 8, 8, 1, 1]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("values", [[0.0, 0.0], [1e38, -1e38], [1e-45, 0.0], [3e38] * 4, []])
def test_no_finite_update_becomes_nan(norm, values):
    held = projection(torch.tensor(values), 1, True, norm=norm, radius=1e-3)
    assert held.isfinite().all()
    assert held.double().norm() <= 1e-3 * len(values) ** 0.5 + 1e-9


def test_huge_updates_keep_their_direction():
    held = projection(torch.tensor([3e30, 4e30]), 1, True, norm="l2", radius=1.0)
    torch.testing.assert_close(held, torch.tensor([0.6, 0.8]))


@pytest.mark.parametrize(
    "wrong", [{"norm": "l1"}, {"radius": 0}, {"radius": -1.0}, {"every": 0}, {"radius": None}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"projection: {next(iter(wrong))}"):
        constraints.build("projection", **{"norm": "l2", "radius": 1.0, **wrong})
