"""Label flipping: the five modes by hand, their shares, and what is measured."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.poisons import poisons
from fedsim.poisons.label_flip import label_flip
from fedsim.types import PoisonView

LABELS = torch.tensor([0, 1, 2, 3, 4, 1, 0, 1])
IMAGES = torch.arange(8.0).view(8, 1, 1, 1) / 8
NEEDS_BOTH, NEEDS_TARGET, NEEDS_NONE = (
    ("pair", "replicate"),
    ("all_to_one",),
    ("reversed", "random"),
)


def view(num_classes=5, seed=0):
    return PoisonView(num_classes, torch.Generator().manual_seed(seed))


def flip(labels=LABELS, images=IMAGES, seed=0, **parameters):
    return label_flip(images, labels, view(seed=seed), **parameters)


def probe(labels=LABELS, images=IMAGES, **parameters):
    return poisons.get("label_flip").facts["probe"](images, labels, view(), **parameters)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"mode": "pair", "source": 1, "target": 0}, [0, 0, 2, 3, 4, 0, 0, 0]),
        ({"mode": "pair", "source": 0, "target": 4}, [4, 1, 2, 3, 4, 1, 4, 1]),
        ({"mode": "all_to_one", "target": 0}, [0, 0, 0, 0, 0, 0, 0, 0]),
        ({"mode": "reversed"}, [4, 3, 2, 1, 0, 3, 4, 3]),
    ],
)
def test_labels_by_hand_and_images_untouched(parameters, expected):
    images, labels = flip(**parameters)
    assert labels.tolist() == expected
    assert torch.equal(images, IMAGES)


def test_random_is_another_class_and_each_as_likely():
    labels = torch.full((8000,), 2)
    _, flipped = flip(labels, torch.zeros(8000, 1, 1, 1), mode="random")
    shares = np.bincount(flipped.numpy(), minlength=5) / 8000
    assert shares[2] == 0
    np.testing.assert_allclose(shares[[0, 1, 3, 4]], 0.25, atol=0.02)


def test_random_with_two_classes_is_the_other_one():
    labels = torch.tensor([0, 1, 1])
    flipped = label_flip(torch.zeros(3, 1, 1, 1), labels, view(2), mode="random")[1]
    assert flipped.tolist() == [1, 0, 0]


def test_replicate_fills_the_set_with_the_source_class():
    images, labels = flip(mode="replicate", source=1, target=3)
    assert labels.tolist() == [3] * 8
    # class 1 lies at 1, 5, 7: repeated in turn until all eight places are filled
    assert (images.flatten() * 8).tolist() == [1, 5, 7, 1, 5, 7, 1, 5]


def test_replicate_of_a_single_source_image():
    images, labels = flip(mode="replicate", source=2, target=3)
    assert labels.tolist() == [3] * 8
    assert (images == IMAGES[2]).all()


@pytest.mark.parametrize("labels", [torch.tensor([0, 1, 1]), torch.zeros(0, dtype=torch.int64)])
def test_replicate_without_source_images_changes_nothing(labels):
    images = torch.rand(len(labels), 1, 2, 2)
    got = flip(labels, images, mode="replicate", source=4, target=0)
    assert torch.equal(got[0], images)
    assert torch.equal(got[1], labels)


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.29, 29), (0.5, 50), (0.999, 99)])
@pytest.mark.parametrize(
    "parameters",
    [
        {"mode": "pair", "source": 1, "target": 0},
        {"mode": "all_to_one", "target": 4},
        {"mode": "reversed"},
        {"mode": "random"},
        {"mode": "replicate", "source": 1, "target": 0},
    ],
    ids=lambda parameters: parameters["mode"],
)
def test_fraction_is_rounded_down_but_for_the_noise_of_floats(parameters, fraction, count):
    labels = torch.ones(100, dtype=torch.int64)
    _, flipped = flip(labels, torch.zeros(100, 1, 1, 1), **parameters, fraction=fraction)
    assert (flipped != labels).sum() == count


def test_fraction_counts_only_images_whose_label_the_mode_changes():
    labels = torch.tensor([0] * 10 + [4] * 10)
    images = torch.zeros(20, 1, 1, 1)
    for parameters in (
        {"mode": "pair", "source": 0, "target": 4},
        {"mode": "all_to_one", "target": 4},
    ):
        _, flipped = flip(labels, images, **parameters, fraction=0.5)
        assert (flipped == 0).sum() == 5
    middle = torch.tensor([2] * 10 + [4] * 10)
    assert (flip(middle, images, mode="reversed", fraction=0.5)[1] == 0).sum() == 5


def test_a_share_is_drawn_with_the_views_generator():
    labels, images = torch.zeros(50, dtype=torch.int64), torch.zeros(50, 1, 1, 1)
    chosen = [
        flip(labels, images, seed=seed, mode="all_to_one", target=1, fraction=0.5)[1]
        for seed in (1, 1, 2)
    ]
    assert torch.equal(chosen[0], chosen[1])
    assert not torch.equal(chosen[0], chosen[2])


def test_part_of_a_replicated_set_stays_honest():
    labels = torch.tensor([0, 2, 3, 4] * 5)
    images = torch.arange(20.0).view(20, 1, 1, 1)
    poisoned, relabelled = flip(labels, images, mode="replicate", source=2, target=1, fraction=0.3)
    bad = relabelled == 1
    assert bad.sum() == 6
    assert torch.equal(poisoned[~bad], images[~bad])
    assert torch.equal(relabelled[~bad], labels[~bad])
    assert {int(value) for value in poisoned[bad]} <= {1, 5, 9, 13, 17}


@settings(max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), max_size=12),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_replicated_images_are_the_clients_own_source_images(labels, fraction, seed):
    labels = torch.tensor(labels, dtype=torch.int64)
    images = torch.arange(float(len(labels))).view(-1, 1, 1, 1)
    poisoned, relabelled = flip(
        labels, images, seed=seed, mode="replicate", source=3, target=0, fraction=fraction
    )
    assert len(poisoned) == len(labels)
    for place, (value, label) in enumerate(zip(poisoned.flatten(), relabelled, strict=True)):
        replaced = label == 0 and labels[int(value)] == 3
        assert replaced or (value == place and label == labels[place])


@pytest.mark.parametrize(
    ("parameters", "places", "expected"),
    [
        ({"mode": "pair", "source": 1, "target": 0}, [1, 5, 7], [0, 0, 0]),
        ({"mode": "replicate", "source": 0, "target": 3}, [0, 6], [3, 3]),
        ({"mode": "all_to_one", "target": 1}, [0, 2, 3, 4, 6], [1] * 5),
        ({"mode": "reversed"}, [0, 1, 3, 4, 5, 6, 7], [4, 3, 1, 0, 3, 4, 3]),
    ],
)
def test_what_is_measured(parameters, places, expected):
    got = probe(**parameters, fraction=0.1)
    assert torch.equal(got.images, IMAGES[places])
    assert got.expected.tolist() == expected
    assert got.truth is None


def test_random_has_no_success():
    assert probe(mode="random") is None


def test_a_test_split_without_the_source_class_gives_an_empty_probe():
    got = probe(torch.zeros(8, dtype=torch.int64), mode="pair", source=4, target=0)
    assert len(got.images) == len(got.expected) == 0


@pytest.mark.parametrize("call", [flip, probe])
@pytest.mark.parametrize("mode", [*NEEDS_BOTH, *NEEDS_TARGET, *NEEDS_NONE])
@pytest.mark.parametrize(("source", "target"), [(None, None), (1, None), (None, 0), (1, 0), (0, 0)])
def test_source_and_target_fit_the_mode(call, mode, source, target):
    wanted = {"source": mode in NEEDS_BOTH, "target": mode not in NEEDS_NONE}
    given_ = {"source": source is not None, "target": target is not None}
    if wanted == given_ and (source is None or source != target):
        call(mode=mode, source=source, target=target)
        return
    wrong = [name for name in wanted if wanted[name] != given_[name]] or ["source and target"]
    with pytest.raises(ValueError, match=f"^label_flip: .*({wrong[0]})"):
        call(mode=mode, source=source, target=target)


@pytest.mark.parametrize("call", [flip, probe])
def test_classes_that_do_not_exist_are_refused(call):
    with pytest.raises(ValueError, match=r"source must be in 0\.\.4; got 5"):
        call(mode="pair", source=5, target=0)
    with pytest.raises(ValueError, match=r"target must be in 0\.\.4; got 9"):
        call(mode="all_to_one", target=9)
    for label in (5, -1):
        with pytest.raises(ValueError, match=rf"labels must be in 0\.\.4; got {label}"):
            call(torch.tensor([0, label]), torch.zeros(2, 1, 1, 1), mode="reversed")
