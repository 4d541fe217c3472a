"""The mean: uniform unless asked otherwise, and never fooled by counts that are none."""

import numpy as np
import pytest
import torch

from fedsim.aggregators.mean import mean
from fedsim.types import ServerView

ROWS = torch.tensor([[1.0, 2.0], [3.0, 0.0], [8.0, -2.0]])


def view(counts: list[float]) -> ServerView:
    ids = tuple(range(len(counts)))
    return ServerView(ids, num_examples=torch.tensor(counts), params=torch.zeros(2))


def test_uniform_is_the_default_and_ignores_claims():
    update, weights, state = mean(ROWS, view([1, 1, 10**6]))
    assert update.tolist() == pytest.approx([4, 0], abs=1e-6)
    assert weights.tolist() == pytest.approx([1 / 3] * 3)
    assert state == {}


def test_examples_weigh_the_rows():
    update, weights, _ = mean(ROWS, view([1, 2, 1]), weighting="examples")
    assert update.tolist() == [3.75, 0.0]
    assert weights.tolist() == [0.25, 0.5, 0.25]


def test_a_client_without_examples_has_no_weight():
    outcome = mean(ROWS, view([0, 5, 0]), weighting="examples")
    assert outcome.update.tolist() == [3.0, 0.0]
    assert outcome.weights.tolist() == [0.0, 1.0, 0.0]


def test_against_numpy():
    rows = torch.randn(9, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    counts = torch.randint(1, 900, (9,), generator=torch.Generator().manual_seed(1))
    view_ = ServerView(tuple(range(9)), num_examples=counts, params=torch.zeros(40))
    expected = np.average(rows.numpy(), axis=0, weights=counts.numpy())
    np.testing.assert_allclose(mean(rows, view_, weighting="examples").update.numpy(), expected)
    np.testing.assert_allclose(mean(rows, view_).update.numpy(), rows.numpy().mean(axis=0))


def test_huge_counts_lose_no_digits():
    outcome = mean(ROWS, view([2**40, 2**40, 2**41]), weighting="examples")
    assert outcome.weights.tolist() == [0.25, 0.25, 0.5]


@pytest.mark.parametrize("counts", [[0, 0, 0], [1, -1, 3], [1, float("nan"), 1]])
def test_counts_that_are_no_weights_are_refused(counts):
    with pytest.raises(ValueError, match="positive sum; got"):
        mean(ROWS, view(counts), weighting="examples")


def test_one_count_for_each_row():
    with pytest.raises(ValueError, match="got 2 of 3"):
        mean(ROWS, view([1, 1]), weighting="examples")
