"""The t-interval against scipy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedsim.results import Interval, mean_interval
from fedsim.results.stats import t_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 10, 29, 30, 100, 1001])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_quantiles(freedom, confidence):
    expected = stats.t.ppf((1 + confidence) / 2, freedom)
    assert t_quantile(freedom, confidence) == pytest.approx(expected, rel=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8).filter(lambda v: max(v) - min(v) > 1e-6))
def test_intervals(values):
    found = mean_interval(values)
    low, high = stats.t.interval(
        0.95, len(values) - 1, sum(values) / len(values), stats.sem(values)
    )
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.n == len(values)


def test_few_values():
    assert mean_interval([]) is None
    assert mean_interval([None, None]) is None
    assert mean_interval([0.25, None]) == Interval(0.25, None, 1)
    assert (Interval(0.25, None, 1).low, Interval(0.25, None, 1).high) == (0.25, 0.25)
    assert mean_interval([0.5, 0.5, None]) == Interval(0.5, 0.0, 2)


@pytest.mark.parametrize(("freedom", "confidence"), [(0, 0.95), (3, 0.0), (3, 1.0)])
def test_bad_arguments(freedom, confidence):
    with pytest.raises(ValueError, match="freedom"):
        t_quantile(freedom, confidence)
