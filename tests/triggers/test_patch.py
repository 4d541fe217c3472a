"""The corner patch, pixel by pixel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.triggers import triggers
from fedsim.triggers.patch import patch


def test_lower_right_corner_in_every_channel_and_nothing_else():
    stamped = patch(torch.full((1, 2, 3, 4), 0.5), size=2, value=0.75)
    plane = [[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.75, 0.75], [0.5, 0.5, 0.75, 0.75]]
    assert stamped.tolist() == [[plane, plane]]


def test_defaults_are_a_white_square_of_three():
    stamped = patch(torch.zeros(1, 1, 28, 28))
    assert stamped.sum() == 9
    assert stamped[..., 25:, 25:].min() == 1


@settings(max_examples=40)
@given(
    height=st.integers(1, 7), width=st.integers(1, 7), size=st.integers(1, 7), value=st.floats(0, 1)
)
def test_equals_a_loop_over_pixels(height, width, size, value):
    images = np.random.default_rng(0).random((2, 3, height, width), dtype=np.float32)
    if size > min(height, width):
        with pytest.raises(ValueError, match=f"{size} × {size} pixels.*{height} × {width}"):
            patch(torch.from_numpy(images), size=size, value=value)
        return
    expected = images.copy()
    for row in range(height):
        for column in range(width):
            if row >= height - size and column >= width - size:
                expected[:, :, row, column] = value
    stamped = patch(torch.from_numpy(images), size=size, value=value)
    np.testing.assert_array_equal(stamped.numpy(), expected)


@pytest.mark.parametrize("wrong", [{"size": 0}, {"value": 1.5}, {"value": -0.1}, {"sise": 3}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"patch: {next(iter(wrong))}"):
        triggers.build("patch", **wrong)
