"""Dirichlet label skew against its definition."""

import importlib

import numpy as np
import pytest
import torch

from fedsim.partitions import _owners
from fedsim.partitions.dirichlet import dirichlet
from fedsim.partitions.quantity_skew import quantity_skew


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def table(parts, labels, num_classes):
    """Counts (clients, classes)."""
    return torch.stack([labels[part].bincount(minlength=num_classes) for part in parts])


def far_from_iid(parts, labels, num_classes):
    """Mean total variation distance of the clients' class mixtures to the overall one."""
    counts = table(parts, labels, num_classes).double()
    mixtures = counts / counts.sum(dim=1, keepdim=True)
    overall = labels.bincount(minlength=num_classes) / len(labels)
    return float((mixtures - overall).abs().sum(dim=1).mean() / 2)


@pytest.mark.parametrize("alpha", [0.05, 0.5, 5.0])
def test_proportions_per_class_have_the_moments_of_the_distribution(alpha):
    """Dir(α·1) over n: mean 1/n, variance (n − 1) / (n² (nα + 1)), independent between classes."""
    n, num_classes = 10, 400
    labels = torch.arange(num_classes).repeat_interleave(500)
    parts = dirichlet(labels, n, seeded(3), alpha=alpha)
    shares = table(parts, labels, num_classes).double() / 500
    variance = (n - 1) / (n**2 * (n * alpha + 1))
    assert shares.mean() == pytest.approx(1 / n)
    assert shares.var(dim=1, correction=0).mean() == pytest.approx(variance, rel=0.08)
    correlation = torch.corrcoef(shares[:, :50].T).fill_diagonal_(0)
    assert abs(float(correlation.mean())) < 0.05


def test_the_shares_are_those_of_numpys_sampler_in_distribution():
    from scipy.stats import ks_2samp

    generator, reference = seeded(5), np.random.default_rng(5)
    for alpha in (0.1, 1.0, 7.0):
        ours = [float(_owners.dirichlet_shares(alpha, 4, generator)[1]) for _ in range(2000)]
        theirs = reference.dirichlet([alpha] * 4, size=2000)[:, 1]
        assert ks_2samp(ours, theirs).pvalue > 0.01


def test_each_class_is_cut_at_the_drawn_shares(monkeypatch):
    given = iter([torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.0, 0.01, 0.99])])
    labels = torch.arange(200) % 2
    module = importlib.import_module("fedsim.partitions.dirichlet")
    monkeypatch.setattr(module, "dirichlet_shares", lambda *_: next(given).double())
    parts = dirichlet(labels, 3, seeded(), alpha=1.0)
    assert table(parts, labels, 2).tolist() == [[50, 0], [30, 1], [20, 99]]


def test_within_a_class_the_draw_is_random():
    labels = torch.zeros(1000, dtype=torch.long)
    part = max(dirichlet(labels, 2, seeded(), alpha=10.0), key=len)
    assert 400 < part.double().mean() < 600


def test_skew_grows_as_alpha_falls():
    labels = torch.arange(2000) % 10
    skews = [
        np.mean(
            [
                far_from_iid(dirichlet(labels, 10, seeded(s), alpha=alpha), labels, 10)
                for s in range(5)
            ]
        )
        for alpha in (100.0, 5.0, 0.5, 0.05, 0.001)
    ]
    assert skews == sorted(skews)
    assert skews[0] < 0.08
    assert skews[-1] > 0.7


@pytest.mark.parametrize("alpha", [5e-324, 1e-12, 1e-3, 1.0, 1e12, 1.7e308])
def test_shares_are_finite_for_any_alpha(alpha):
    for seed in range(20):
        shares = _owners.dirichlet_shares(alpha, 50, seeded(seed))
        assert torch.isfinite(shares).all()
        assert shares.sum() == pytest.approx(1)
        assert (shares >= 0).all()


def test_counts_sum_up_and_stay_near_the_shares():
    for seed in range(50):
        shares = _owners.dirichlet_shares(0.3, 17, seeded(seed))
        counts = _owners.whole_counts(shares, 1009)
        assert counts.sum() == 1009
        assert (counts - shares * 1009).abs().max() <= 1


def test_poor_clients_take_from_the_largest_lowest_id_and_index_first():
    owner = torch.tensor([2, 2, 2, 2, 1, 1, 1, 1, 1, 3])
    parts = _owners.by_owner(owner, 5, min_size=2)
    # Client 0 takes 4 from client 1 (five), then 0 from client 2 or 5 from client 1 (four each:
    # the lower id gives); client 3 then takes 0 from client 2 (four), client 4 takes 1 and 6.
    assert [part.tolist() for part in parts] == [[4, 5], [7, 8], [2, 3], [0, 9], [1, 6]]


def test_only_the_largest_clients_lose_samples():
    labels = torch.arange(400) % 4
    plain = dirichlet(labels, 12, seeded(2), alpha=0.1)
    filled = dirichlet(labels, 12, seeded(2), alpha=0.1, min_size=15)
    for before, after in zip(plain, filled, strict=True):
        if len(before) < 15:
            assert len(after) == 15
            assert set(before.tolist()) <= set(after.tolist())
        else:
            assert set(after.tolist()) <= set(before.tolist())


def test_quantity_skew_changes_sizes_but_not_mixtures():
    labels = torch.arange(20_000) // 2000
    parts = quantity_skew(labels, 8, seeded(1), alpha=1.0, min_size=500)
    sizes = sorted(map(len, parts))
    assert sizes[-1] > 3 * sizes[0]
    assert far_from_iid(parts, labels, 10) < 0.05


def test_quantities_spread_as_alpha_falls():
    labels = torch.zeros(5000, dtype=torch.long)
    largest = [
        np.mean([max(map(len, quantity_skew(labels, 10, seeded(s), alpha=a))) for s in range(8)])
        for a in (100.0, 1.0, 0.01)
    ]
    assert largest == sorted(largest)
    assert largest[-1] > 4500
