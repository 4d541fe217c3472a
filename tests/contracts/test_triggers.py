"""Every built-in trigger, a row each, against the laws that all triggers obey."""

import pickle
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.triggers import triggers


class Row(NamedTuple):
    """Parameters, and the smallest image (rows, columns) that these let it fit in."""

    name: str
    parameters: dict[str, Any]
    smallest: tuple[int, int]


ROWS = [
    Row("patch", {}, (3, 3)),
    Row("patch", {"size": 2, "value": 0.25}, (2, 2)),
    Row("dba", {"size": 2, "gap": 1, "shift": 0}, (3, 5)),
    Row("dba", {"size": 2, "gap": [1, 2], "shift": [3, 1], "thickness": 2}, (7, 8)),
    Row("dba", {"size": 1, "gap": 0, "shift": [0, 1], "part": 2}, (3, 2)),
]

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.parameters}")
quick = settings(max_examples=15)


def test_every_built_in_trigger_has_a_row():
    built_in = {
        name for name in triggers.names() if triggers.get(name).function.__module__[:7] == "fedsim."
    }
    assert built_in == {row.name for row in ROWS}


@rows
@quick
@given(
    batch=st.integers(0, 3),
    channels=st.sampled_from([1, 3]),
    extra=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_laws(row, batch, channels, extra, dtype):
    shape = (row.smallest[0] + extra[0], row.smallest[1] + extra[1])
    images = torch.rand(batch, channels, *shape, dtype=dtype)
    before = images.clone()
    trigger = triggers.build(row.name, **row.parameters)
    stamped = trigger(images)

    assert torch.equal(images, before)
    assert stamped.shape == images.shape
    assert stamped.dtype == dtype
    assert ((stamped >= 0) & (stamped <= 1)).all()
    assert torch.equal(trigger(images), stamped)
    assert torch.equal(trigger(stamped), stamped)
    for alone, together in zip(images.split(1), stamped.split(1), strict=True):
        assert torch.equal(trigger(alone), together)
    for one, whole in zip(images.split(1, dim=1), stamped.split(1, dim=1), strict=True):
        assert torch.equal(trigger(one), whole)


@rows
def test_something_changes_in_every_image(row):
    images = torch.rand(4, 3, *row.smallest) * 0.9
    stamped = triggers.build(row.name, **row.parameters)(images)
    assert (stamped != images).flatten(1).any(dim=1).all()


@rows
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("batch", [0, 2])
def test_an_image_one_pixel_too_small_is_refused_with_the_numbers(row, axis, batch):
    shape = list(row.smallest)
    shape[axis] -= 1
    needed, got = f"{row.smallest[0]} × {row.smallest[1]}", f"{shape[0]} × {shape[1]}"
    with pytest.raises(ValueError, match=f"^{row.name}: .*{needed}.*{got}"):
        triggers.build(row.name, **row.parameters)(torch.zeros(batch, 1, *shape))


@rows
def test_pickles_and_cites(row):
    trigger = triggers.build(row.name, **row.parameters)
    images = torch.rand(2, 1, 9, 9)
    assert torch.equal(pickle.loads(pickle.dumps(trigger))(images), trigger(images))
    assert "Paper:" in (trigger.func.__doc__ or "")
