"""Robust deviations from the median, worked out by hand."""

import pytest
import torch
from scipy.stats import median_abs_deviation

from fedsim.inspections._anomaly import (
    above_median,
    among,
    below_median,
    check_classes,
    double_below_median,
)


def test_the_index_is_the_distance_below_the_median_in_scaled_mads():
    norms = torch.tensor([1.0, 9.0, 10.0, 11.0, 13.0])  # median 10; distances 9 1 0 1 3; MAD 1
    expected = torch.tensor([9.0, 1.0, 0.0, -1.0, -3.0]) / 1.4826
    torch.testing.assert_close(below_median(norms), expected)


def test_only_the_small_side_is_positive_and_above_is_its_mirror():
    norms = torch.tensor([5.0, 6.0, 7.0, 50.0])
    assert below_median(norms).argmax() == 0
    assert below_median(norms)[3] < 0
    torch.testing.assert_close(above_median(norms), -below_median(norms))


def test_it_agrees_with_scipy():
    norms = torch.randn(10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scale = median_abs_deviation(norms.numpy(), scale="normal")
    expected = (norms.quantile(0.5) - norms) / scale
    torch.testing.assert_close(below_median(norms), expected, rtol=1e-4, atol=0)


def test_without_a_mad_the_mean_distance_stands_for_it():
    norms = torch.tensor([1.0, 5.0, 5.0, 5.0, 5.0])  # MAD 0; mean distance 0.8
    assert below_median(norms)[0].item() == pytest.approx(4 / (1.2533 * 0.8))


def test_equal_norms_accuse_nobody():
    assert below_median(torch.full((6,), 3.0)).abs().max() == 0
    assert double_below_median(torch.full((6,), 3.0)).abs().max() == 0


def test_the_double_mad_looks_at_one_side_only():
    norms = torch.tensor([1.0, 9.0, 10.0, 40.0, 90.0])  # below: 9 1 0, MAD 1; above: 0 30 80
    index = double_below_median(norms)
    expected = torch.tensor([9.0, 1.0, 0.0]) / 1.4826
    torch.testing.assert_close(index[:3], expected)
    torch.testing.assert_close(index[3:], -torch.tensor([30.0, 80.0]) / (1.4826 * 30))
    assert below_median(norms)[0] < index[0]  # the wide upper side hides it from the single MAD


def test_two_classes_cannot_be_compared():
    with pytest.raises(ValueError, match="x needs at least 3 classes to compare; got 2"):
        check_classes("x", 2)


def test_only_known_values_are_compared():
    norms = torch.tensor([1.0, 9.0, 10.0, 11.0, 13.0, 64.0, 64.0])
    index = among("x", norms < 64, below_median, norms)
    torch.testing.assert_close(index[:5], below_median(norms[:5]))
    assert index[5:].tolist() == [0.0, 0.0]


def test_too_few_known_values_cannot_be_compared():
    norms = torch.tensor([1.0, 64.0, 64.0, 64.0, 60.0])
    with pytest.raises(ValueError, match="x found a way to 2 of 5 classes, too few to compare"):
        among("x", norms < 64, below_median, norms)
