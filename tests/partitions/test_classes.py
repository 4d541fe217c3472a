"""Partitions that hand out classes, and IID, against their definitions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.partitions.by_class import by_class
from fedsim.partitions.iid import iid
from fedsim.partitions.label_skew import label_skew
from fedsim.partitions.shards import shards


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def classes_of(parts, labels):
    return [set(labels[part].tolist()) for part in parts]


def test_iid_sizes_differ_by_one_and_mixtures_agree():
    labels = torch.arange(10_003) % 10
    parts = iid(labels, 7, seeded())
    assert [len(part) for part in parts] == [1429] * 7
    counts = torch.stack([labels[part].bincount() for part in parts])
    assert (counts - 143).abs().max() < 45
    assert sorted(map(len, iid(labels[:100], 7, seeded()))) == [14] * 5 + [15] * 2


def test_shards_deals_equal_runs_of_the_sorted_labels():
    """The paper's numbers, scaled down: 600 samples, 100 clients, 200 shards of 3."""
    labels = torch.randperm(600, generator=seeded(4)) % 10
    parts = shards(labels, 100, seeded(1))
    rank = torch.empty(600, dtype=torch.long)
    rank[labels.argsort(stable=True)] = torch.arange(600)
    for part in parts:
        assert len(part) == 6
        assert len(labels[part].unique()) <= 2
        runs = (rank[part] // 3).bincount(minlength=200)
        assert sorted(runs[runs > 0].tolist()) == [3, 3]


def test_shards_that_do_not_divide_evenly_differ_by_one():
    parts = shards(torch.arange(103) % 4, 5, seeded(), per_client=3)
    assert all(18 <= len(part) <= 21 for part in parts)


@given(
    num_clients=st.integers(1, 25),
    k=st.integers(1, 8),
    num_classes=st.integers(8, 12),
    seed=st.integers(0, 500),
)
@settings(max_examples=60)
def test_each_client_holds_its_number_of_classes(num_clients, k, num_classes, seed):
    labels = torch.arange(num_classes * 40) % num_classes
    held = classes_of(by_class(labels, num_clients, seeded(seed), classes_per_client=k), labels)
    assert set().union(*held) == set(range(num_classes))
    if num_clients * k >= num_classes:
        assert all(len(classes) == k for classes in held)
    else:
        assert all(len(classes) >= k for classes in held)
        assert sum(map(len, held)) == num_classes


def test_a_class_is_shared_equally_among_its_holders():
    labels = torch.arange(1000) % 10
    parts = by_class(labels, 30, seeded(2), classes_per_client=3)
    counts = torch.stack([labels[part].bincount(minlength=10) for part in parts])
    for column in counts.T:
        held = column[column > 0]
        assert held.sum() == 100
        assert held.max() - held.min() <= 1


def test_by_class_draws_classes_at_random():
    labels = torch.arange(300) % 3
    seen = {
        tuple(sorted(classes_of(by_class(labels, 2, seeded(s), classes_per_client=2), labels)[0]))
        for s in range(30)
    }
    assert seen == {(0, 1), (0, 2), (1, 2)}


def test_more_classes_per_client_than_there_are_is_refused_with_the_numbers():
    with pytest.raises(ValueError, match=r"at least classes_per_client=4 classes .* got 3"):
        by_class(torch.arange(30) % 3, 2, seeded(), classes_per_client=4)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.8])
def test_label_skew_sends_the_share_q_home(q):
    """Counted from the result alone: a client's home is the class that only its group prefers."""
    labels = torch.arange(40_000) % 10
    parts = label_skew(labels, 20, seeded(1), q=q)
    counts = torch.stack([labels[part].bincount(minlength=10) for part in parts]).double()
    if q == 0.1:  # 1 / K: IID in distribution
        assert ((counts - 200).abs() < 70).all()
        return
    homes = counts.argmax(dim=1)
    assert homes.bincount(minlength=10).tolist() == [2] * 10
    at_home = counts[torch.arange(20), homes]
    assert at_home.sum() / 40_000 == pytest.approx(q, abs=0.01)
    away = counts.clone()
    away[torch.arange(20), homes] = float("nan")
    expected = (1 - q) / 9 * 4000 / 2
    assert away.nanmean() == pytest.approx(expected, rel=0.02)
    assert (away - expected)[~away.isnan()].abs().max() < 6 * expected**0.5


def test_full_label_skew_gives_each_client_one_class():
    labels = torch.arange(500) % 5
    parts = label_skew(labels, 12, seeded(), q=1.0)
    assert all(len(classes) == 1 for classes in classes_of(parts, labels))


def test_groups_of_label_skew_are_drawn_at_random():
    labels = torch.arange(50) % 5
    homes = {int(labels[label_skew(labels, 5, seeded(s), q=1.0)[0][0]]) for s in range(40)}
    assert homes == {0, 1, 2, 3, 4}


def test_fewer_clients_than_classes_share_the_groups():
    labels = torch.arange(1000) % 10
    held = classes_of(label_skew(labels, 3, seeded(), q=1.0), labels)
    assert sorted(map(len, held)) == [3, 3, 4]
    assert set().union(*held) == set(range(10))


def test_zero_label_skew_sends_nothing_home():
    labels = torch.arange(900) % 3
    parts = label_skew(labels, 3, seeded(), q=0.0)
    assert all(len(classes) == 2 for classes in classes_of(parts, labels))


def test_one_class_alone_goes_to_everybody():
    parts = label_skew(torch.zeros(100, dtype=torch.long), 4, seeded(), q=0.3)
    assert min(map(len, parts)) > 10
