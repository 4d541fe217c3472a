"""Clipping bounds every row and leaves the short ones, and odd ones, alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.preaggregators import preaggregators
from fedsim.preaggregators.clip import clip


def norms(rows):
    return torch.linalg.vector_norm(rows.double(), dim=1)


def test_by_hand():
    rows = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, 0.3]])
    torch.testing.assert_close(
        clip(rows, norm=1.0), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.3]])
    )


@settings(max_examples=50)
@given(
    n=st.integers(1, 8),
    d=st.integers(1, 30),
    seed=st.integers(0, 10**6),
    norm=st.sampled_from([1e-3, 0.5, 3.0, 1e6]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_against_numpy(n, d, seed, norm, dtype):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    lengths = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    expected = rows * np.minimum(1, norm / lengths)
    given_rows = torch.tensor(rows, dtype=dtype)
    before = given_rows.clone()
    clipped = clip(given_rows, norm=norm)
    assert clipped.dtype == dtype
    assert torch.equal(given_rows, before)
    np.testing.assert_allclose(clipped.numpy(), expected, rtol=20 * torch.finfo(dtype).eps)


def test_short_rows_keep_their_bits():
    rows = torch.randn(20, 50, generator=torch.Generator().manual_seed(0)) / 100
    assert torch.equal(clip(rows, norm=5.0), rows)


def test_the_median_of_an_even_number_is_the_midpoint():
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [4.0, 0.0], [0.0, 9.0]])
    assert norms(clip(rows, norm="median")).tolist() == [1, 2, 3, 3]
    assert norms(clip(rows[:3], norm="median")).tolist() == [1, 2, 2]


def test_zero_rows_stay_zero():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert clip(rows, norm=1.0)[[0, 2]].tolist() == [[0, 0], [0, 0]]
    assert clip(rows, norm="median").tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("value", [1e30, 3e38, 1e-30, 1e-44])
def test_extreme_rows_neither_overflow_nor_vanish(value):
    rows = torch.full((3, 1000), value)
    rows[1] = -rows[1]
    clipped = clip(rows, norm=1e-50)
    assert norms(clip(rows, norm=2.0)).max() <= 2.0001
    if value > 1:
        assert norms(clip(rows, norm=2.0)).tolist() == pytest.approx([2.0] * 3)
    assert clipped.isfinite().all()
    assert torch.equal(clip(rows, norm="median").sign(), rows.sign())


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_that_float64_cannot_hold(size):
    rows = torch.full((1, 4), size, dtype=torch.float64)
    clipped = clip(rows, norm=size * 1e-50)
    assert (clipped / size * 2e50).tolist() == [pytest.approx([1.0] * 4)]


@pytest.mark.parametrize("norm", [0, -1.0, float("inf"), float("nan"), "mean", None])
def test_a_bound_that_is_none_is_refused(norm):
    with pytest.raises(ValueError, match="clip: norm"):
        preaggregators.build("clip", norm=norm)


def test_the_bound_has_no_default():
    with pytest.raises(ValueError, match="clip: norm: is required"):
        preaggregators.build("clip")
