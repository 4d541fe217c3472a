"""The backdoor: which images are stamped, what they are called, and what is measured."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.poisons import poisons
from fedsim.poisons.backdoor import backdoor
from fedsim.triggers import triggers
from fedsim.triggers.patch import patch
from fedsim.types import PoisonView

LABELS = torch.tensor([0, 1, 2, 1, 0, 2])
IMAGES = torch.rand(6, 2, 4, 4, generator=torch.Generator().manual_seed(0)) * 0.9
CORNER = triggers.build("patch", size=2)


def view(num_classes=3, seed=0):
    return PoisonView(num_classes, torch.Generator().manual_seed(seed))


def stamp(labels=LABELS, images=IMAGES, seed=0, **parameters):
    return backdoor(images, labels, view(seed=seed), **{"trigger": CORNER, **parameters})


def probe(labels=LABELS, images=IMAGES, **parameters):
    plugin = poisons.get("backdoor")
    return plugin.facts["probe"](images, labels, view(), **{"trigger": CORNER, **parameters})


def stamped_rows(got, images=IMAGES):
    """The rows that carry the exact trigger; all others must be untouched."""
    rows = []
    for row, (before, after) in enumerate(zip(images, got[0], strict=True)):
        if not torch.equal(before, after):
            assert torch.equal(after[None], patch(before[None], size=2))
            rows.append(row)
    return rows


@pytest.mark.parametrize(
    ("parameters", "rows", "labels"),
    [
        ({"target": 2, "per_batch": 2}, [0, 1], [2, 2, 2, 1, 0, 2]),
        ({"target": 0, "per_batch": 3}, [0, 1, 2], [0, 0, 0, 1, 0, 2]),
        ({"target": 0, "per_batch": 64}, [0, 1, 2, 3, 4, 5], [0] * 6),
        ({"target": 0, "source": 1, "per_batch": 1}, [1], [0, 0, 2, 1, 0, 2]),
        ({"target": 1, "source": 0, "per_batch": 5}, [0, 4], [1, 1, 2, 1, 1, 2]),
        ({"mode": "all_to_all", "per_batch": 3}, [0, 1, 2], [1, 2, 0, 1, 0, 2]),
        ({"target": 2, "source": 0, "fraction": 1.0}, [0, 4], [2, 1, 2, 1, 2, 2]),
        ({"target": 2, "fraction": 0.0}, [], [0, 1, 2, 1, 0, 2]),
        ({"mode": "all_to_all", "fraction": 1.0}, [0, 1, 2, 3, 4, 5], [1, 2, 0, 2, 1, 0]),
    ],
)
def test_rows_and_labels_by_hand(parameters, rows, labels):
    got = stamp(**parameters)
    assert stamped_rows(got) == rows
    assert got[1].tolist() == labels


@pytest.mark.parametrize(("fraction", "count"), [(0.29, 29), (0.5, 50), (0.999, 99), (1.0, 100)])
def test_fraction_of_the_images_is_drawn_with_the_views_generator(fraction, count):
    labels, images = torch.ones(100, dtype=torch.int64), torch.zeros(100, 1, 2, 2)
    first = stamp(labels, images, target=0, fraction=fraction)
    rows = stamped_rows(first, images)
    assert len(rows) == count
    assert rows == (first[1] == 0).nonzero().flatten().tolist()
    assert torch.equal(stamp(labels, images, target=0, fraction=fraction)[0], first[0])
    other = stamp(labels, images, seed=1, target=0, fraction=fraction)
    assert torch.equal(other[0], first[0]) == (fraction == 1.0)


def test_fraction_with_source_is_a_share_of_that_class():
    labels, images = torch.tensor([0] * 10 + [1] * 30), torch.zeros(40, 1, 2, 2)
    rows = stamped_rows(stamp(labels, images, target=2, source=0, fraction=0.5), images)
    assert len(rows) == 5
    assert max(rows) < 10


def test_a_client_without_the_source_class_is_left_alone():
    for amount in ({"fraction": 1.0}, {"per_batch": 5}):
        got = stamp(torch.zeros(6, dtype=torch.int64), target=2, source=1, **amount)
        assert stamped_rows(got) == []
        assert got[1].tolist() == [0] * 6


@settings(max_examples=40)
@given(
    labels=st.lists(st.integers(0, 2), max_size=10),
    source=st.sampled_from([None, 0, 1]),
    per_batch=st.integers(1, 12),
)
def test_per_batch_equals_a_loop(labels, source, per_batch):
    images = torch.zeros(len(labels), 1, 2, 2)
    expected, left = [], per_batch
    for row, label in enumerate(labels):
        if left and source in (None, label):
            expected.append(row)
            left -= 1
    tensor = torch.tensor(labels, dtype=torch.int64)
    got = stamp(tensor, images, target=2, source=source, per_batch=per_batch)
    assert stamped_rows(got, images) == expected
    assert got[1].tolist() == [2 if row in expected else y for row, y in enumerate(labels)]


@pytest.mark.parametrize(
    ("parameters", "places", "expected"),
    [
        ({"target": 0, "per_batch": 1}, [1, 2, 3, 5], [0] * 4),
        ({"target": 2, "fraction": 0.1}, [0, 1, 3, 4], [2] * 4),
        ({"target": 2, "source": 1, "fraction": 0.1}, [1, 3], [2, 2]),
        ({"mode": "all_to_all", "per_batch": 2}, [0, 1, 2, 3, 4, 5], [1, 2, 0, 2, 1, 0]),
    ],
)
def test_what_is_measured(parameters, places, expected):
    got = probe(**parameters)
    assert torch.equal(got.images, patch(IMAGES[places], size=2))
    assert got.expected.tolist() == expected
    assert got.truth.tolist() == LABELS[places].tolist()


def test_a_test_split_of_the_target_class_alone_gives_an_empty_probe():
    assert len(probe(torch.full((6,), 2), target=2, per_batch=1).images) == 0


def test_the_trigger_may_be_named_and_what_does_not_fit_is_refused():
    named = {"trigger": {"name": "patch", "size": 2}, "target": 0, "per_batch": 6}
    assert stamped_rows(poisons.build("backdoor", **named)(IMAGES, LABELS, view())) == [*range(6)]
    large = poisons.build("backdoor", **{**named, "trigger": {"name": "patch", "size": 5}})
    with pytest.raises(ValueError, match="5 × 5 pixels; the images have 4 × 4"):
        large(IMAGES[:0], LABELS[:0], view())


@pytest.mark.parametrize("call", [stamp, probe])
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"per_batch": 1}, "mode to_one needs target; got target=None"),
        ({"target": 0}, "exactly one of fraction and per_batch; got fraction=None, per_batch=None"),
        ({"target": 0, "fraction": 0.5, "per_batch": 1}, "exactly one of fraction and per_batch"),
        ({"target": 3, "per_batch": 1}, r"target must be in 0\.\.2; got 3"),
        ({"target": 0, "source": 3, "per_batch": 1}, r"source must be in 0\.\.2; got 3"),
        ({"target": 1, "source": 1, "per_batch": 1}, "source and target must differ"),
        ({"mode": "all_to_all", "target": 1, "per_batch": 1}, "takes neither target nor source"),
        ({"mode": "all_to_all", "source": 1, "per_batch": 1}, "takes neither target nor source"),
    ],
)
def test_contradictions_are_refused(call, parameters, words):
    with pytest.raises(ValueError, match=f"^backdoor: .*{words}"):
        call(**parameters)
