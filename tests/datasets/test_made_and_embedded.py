"""The embedded digits and the made-up task."""

import hashlib
from pathlib import Path

import pytest
import torch

from fedsim.datasets._even import evenly_spaced
from fedsim.datasets.digits import digits
from fedsim.datasets.synthetic import synthetic
from fedsim.types import DataSource

NOWHERE = DataSource(Path("nowhere"))


def nearest_mean_accuracy(dataset):
    images, labels = dataset.train.images.flatten(1), dataset.train.labels
    means = torch.stack([images[labels == k].mean(dim=0) for k in range(dataset.num_classes)])
    guesses = torch.cdist(dataset.test.images.flatten(1), means).argmin(dim=1)
    return (guesses == dataset.test.labels).float().mean()


def test_digits_is_scikit_learns_set_divided_by_sixteen():
    from sklearn.datasets import load_digits

    theirs, ours = load_digits(), digits(NOWHERE)
    rows = [*ours.train.images.flatten(1).mul(16).tolist()]
    rows += ours.test.images.flatten(1).mul(16).tolist()
    assert sorted(rows) == sorted(theirs.data.tolist())


def test_digits_are_split_1437_to_360_in_the_classes_shares():
    dataset = digits(NOWHERE)
    train, test = dataset.train.labels.bincount(), dataset.test.labels.bincount()
    assert (int(train.sum()), int(test.sum())) == (1437, 360)
    exact = (train + test) * 360 / 1797
    assert ((test - exact).abs() < 1).all()


def test_the_split_of_digits_never_changes():
    """Every golden number of digits hangs on it."""
    labels = digits(NOWHERE).test.labels.to(torch.uint8).numpy().tobytes()
    assert hashlib.sha256(labels).hexdigest()[:16] == "665d9ecb0d99d73c"


@pytest.mark.parametrize("num_test", [1, 3, 10, 29, 30])
def test_evenly_spaced_takes_what_is_asked_for(num_test):
    labels = torch.tensor([0] * 17 + [2] * 12 + [5])
    chosen = evenly_spaced(labels, num_test)
    assert int(chosen.sum()) == num_test
    for label in (0, 2, 5):
        share = (labels == label).sum() * num_test / 30
        assert abs(chosen[labels == label].sum() - share) < 1


def test_synthetic_is_learnt_and_noise_makes_it_harder():
    easy, hard = (synthetic(NOWHERE, noise=noise) for noise in (0.3, 2.0))
    assert nearest_mean_accuracy(easy) > 0.95
    assert 0.1 < nearest_mean_accuracy(hard) < nearest_mean_accuracy(easy)


def test_synthetic_without_noise_has_one_image_per_class():
    split = synthetic(NOWHERE, noise=0.0, num_classes=3, train=9, size=5).train
    assert len(split.images.unique(dim=0)) == 3
    assert torch.equal(split.images[0], split.images[3])


def test_synthetic_depends_on_its_own_seed_alone():
    first, again, other = (synthetic(NOWHERE, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.train.images, other.train.images)
    assert not torch.equal(first.train.images[:500], first.test.images)


@pytest.mark.parametrize(("size", "channels"), [(1, 1), (3, 2), (28, 1), (33, 3)])
def test_synthetic_has_the_asked_shape(size, channels):
    dataset = synthetic(NOWHERE, size=size, channels=channels, train=20, test=7)
    assert dataset.shape == (channels, size, size)
    assert (len(dataset.train), len(dataset.test)) == (20, 7)
