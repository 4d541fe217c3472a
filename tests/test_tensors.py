"""What rules measure on a stack of rows keeps its digits whatever an attacker sends."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.tensors import (
    columns,
    cosine_similarities,
    median,
    norms,
    per_coordinate,
    squared_distances,
)

DTYPES = [torch.float32, torch.float64]


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def by_differences(updates):
    rows = updates.double()
    return (rows[:, None] - rows[None]).square().sum(dim=-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e6])
@pytest.mark.parametrize("huge", [1.0, 1e2, 1e9])
def test_distances_with_an_offset_and_a_huge_row(dtype, offset, huge):
    updates = 0.01 * draw(1, 12, 3000)
    updates[4:7] = updates[4] + 1e-6 * draw(2, 3, 3000)  # three that collude
    updates[8] = updates[9]
    updates += offset
    updates[:2] = huge * draw(3, 2, 3000)
    updates = updates.to(dtype)
    found, expected = squared_distances(updates), by_differences(updates)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)
    assert torch.equal(found, found.T)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_far_majority_of_the_sampled_coordinates_costs_no_digits(dtype):
    updates = draw(4, 9, 5000)
    updates[:6] *= 1e8
    updates[6:] += 1e4
    updates = updates.to(dtype)
    torch.testing.assert_close(
        squared_distances(updates), by_differences(updates), rtol=1e-7, atol=0
    )


@settings(max_examples=50)
@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 1.0, -1.0, 3e38, 1e-30, 1e16]), min_size=3, max_size=3),
        min_size=1,
        max_size=7,
    )
)
def test_distances_of_anything(rows):
    updates = torch.tensor(rows)
    torch.testing.assert_close(
        squared_distances(updates), by_differences(updates), rtol=1e-7, atol=0
    )


def test_equal_rows_are_at_distance_zero_and_too_far_ones_at_inf():
    row = draw(5, 1, 700)
    assert squared_distances(row.repeat(40, 1)).eq(0).all()
    far = torch.tensor([[1e300], [1e300], [0.0], [1.0]], dtype=torch.float64)
    expected = [[0, 0, torch.inf, torch.inf]] * 2 + [
        [torch.inf, torch.inf, 0, 1],
        [torch.inf, torch.inf, 1, 0],
    ]
    assert squared_distances(far).tolist() == expected


@pytest.mark.parametrize("dtype", DTYPES)
def test_norms_neither_overflow_nor_vanish(dtype):
    big = 1e38 if dtype == torch.float32 else 1e300
    updates = torch.tensor([[3.0, 4.0], [0.0, 0.0], [3e-30, 4e-30], [0.6 * big, 0.8 * big]])
    updates = updates.to(dtype) if big == 1e38 else updates.double()
    updates[3] = torch.tensor([0.6 * big, 0.8 * big], dtype=dtype)
    expected = torch.tensor([5.0, 0.0, 5e-30, big], dtype=dtype)
    torch.testing.assert_close(norms(updates), expected, rtol=1e-6, atol=0)


def test_cosines_by_hand():
    updates = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.0], [-1e30, 0.0]])
    half = 0.5**0.5
    expected = [
        [1, 0, half, 0, -1],
        [0, 1, half, 0, 0],
        [half, half, 1, 0, -half],
        [0, 0, 0, 0, 0],
        [-1, 0, -half, 0, 1],
    ]
    torch.testing.assert_close(
        cosine_similarities(updates), torch.tensor(expected, dtype=torch.float64)
    )


@pytest.mark.parametrize("n", range(1, 6))
def test_median_is_the_midpoint(n):
    values = draw(6, n, 3, 2)
    expected = values.quantile(0.5, dim=0)
    torch.testing.assert_close(median(values), expected)
    assert median(torch.tensor([3e38, 3e38])).isfinite()


def test_columns_cover_all_coordinates_once():
    updates = torch.zeros(300, 10_000)
    parts = list(columns(updates))
    assert len(parts) > 1
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, 10_000)
    updates[7] = torch.arange(10_000)
    assert torch.equal(per_coordinate(updates, lambda rows: rows.sum(dim=0)), updates[7])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "d"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_has_empty_or_zero_measures(n, d, dtype):
    updates = torch.empty(n, d, dtype=dtype)
    assert norms(updates).tolist() == [0] * n
    for measure in (squared_distances, cosine_similarities):
        assert measure(updates).tolist() == [[0] * n] * n
    assert per_coordinate(updates, lambda rows: rows.sum(dim=0)).tolist() == [0] * d
    assert [part.stop for part in columns(updates)][-1:] == [d] * (d > 0)
