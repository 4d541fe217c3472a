"""DBA's trigger against the coordinates that the authors list for their three image sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.triggers import triggers
from fedsim.triggers.dba import dba


def bar(rows: tuple[int, ...], first: int, last: int) -> set[tuple[int, int]]:
    return {(row, column) for row in rows for column in range(first, last + 1)}


# (side of the image, parameters, [row, column] of parts 0 to 3), typed off the authors' lists
TABLE = {
    "mnist": (
        28,
        {"size": 4, "gap": 2, "shift": 0},
        [bar((0,), 0, 3), bar((0,), 6, 9), bar((3,), 0, 3), bar((3,), 6, 9)],
    ),
    "cifar10": (
        32,
        {"size": 6, "gap": 3, "shift": 0},
        [bar((0,), 0, 5), bar((0,), 9, 14), bar((4,), 0, 5), bar((4,), 9, 14)],
    ),
    "tiny_imagenet": (
        64,
        {"size": 10, "gap": 2, "shift": 0, "thickness": 2},
        [bar((0, 1), 0, 9), bar((0, 1), 12, 21), bar((4, 5), 0, 9), bar((4, 5), 12, 21)],
    ),
}
table = pytest.mark.parametrize(("side", "parameters", "parts"), TABLE.values(), ids=TABLE.keys())


def pixels(side: int, **parameters: object) -> set[tuple[int, int]]:
    """Where the trigger writes, the same in each of three channels; it writes 1, else nothing."""
    images = torch.full((1, 3, side, side), 0.25)
    stamped = triggers.build("dba", **parameters)(images)
    changed = stamped[0] != images[0]
    assert torch.equal(changed[0], changed[1])
    assert torch.equal(changed[0], changed[2])
    assert (stamped[0][changed] == 1).all()
    return {(row, column) for row, column in changed[0].nonzero().tolist()}


@table
@pytest.mark.parametrize("part", range(4))
def test_each_part_is_where_the_authors_put_it(side, parameters, parts, part):
    assert pixels(side, **parameters, part=part) == parts[part]


@table
def test_the_global_trigger_is_the_union_of_four_places(side, parameters, parts):
    assert pixels(side, **parameters) == set.union(*parts)
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_x_moves_columns_and_y_moves_rows():
    small = {"size": 1, "gap": [2, 1], "shift": [3, 0]}
    assert pixels(9, **small) == {(0, 3), (0, 6), (2, 3), (2, 6)}
    assert pixels(9, **{**small, "shift": [0, 4]}) == {(4, 0), (4, 3), (6, 0), (6, 3)}


def test_one_number_is_the_same_pair():
    pair = pixels(12, size=2, gap=[1, 1], shift=[2, 2])
    assert pixels(12, size=2, gap=1, shift=2) == pair


@settings(max_examples=60)
@given(
    size=st.integers(1, 4),
    thickness=st.integers(1, 3),
    gap=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    shift=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_geometry(size, thickness, gap, shift):
    whole = {"size": size, "thickness": thickness, "gap": list(gap), "shift": list(shift)}
    parts = [pixels(18, **whole, part=part) for part in range(4)]
    assert pixels(18, **whole) == set.union(*parts)
    for part, got in enumerate(parts):
        assert len(got) == size * thickness
        down, right = divmod(part, 2)
        assert min(got) == (
            shift[1] + down * (thickness + gap[1]),
            shift[0] + right * (size + gap[0]),
        )


@pytest.mark.parametrize("part", [None, 0, 1, 2, 3])
def test_a_part_is_refused_where_the_whole_does_not_fit(part):
    with pytest.raises(ValueError, match="needs 4 × 10 pixels; the images have 8 × 8"):
        dba(torch.zeros(1, 1, 8, 8), size=4, gap=2, shift=0, part=part)


@pytest.mark.parametrize("wrong", [{"gap": (-1, 0)}, {"shift": (0, -1)}])
def test_negative_pairs_are_refused(wrong):
    with pytest.raises(ValueError, match="must not be negative"):
        dba(torch.zeros(1, 1, 9, 9), **{"size": 1, "gap": 1, "shift": 1, **wrong})


@pytest.mark.parametrize(
    "wrong", [{"part": 4}, {"part": -1}, {"gap": -1}, {"gap": [1]}, {"size": 0}, {"thickness": 0}]
)
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"dba: {next(iter(wrong))}"):
        triggers.build("dba", **{"size": 1, "gap": 1, "shift": 1, **wrong})
