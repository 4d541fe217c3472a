import numpy as np
import pytest
import torch
from scipy import ndimage

from fedsim.filters import filters
from fedsim.filters.median_filter import median_filter
from fedsim.triggers import triggers
from tests.filters.clean_digits import suspect_of


def test_a_known_image_by_hand():
    image = (
        torch.tensor([[1.0, 2.0, 3.0], [4.0, 9.0, 6.0], [7.0, 8.0, 5.0]]).div(10).view(1, 1, 3, 3)
    )
    filtered, rejected = median_filter(suspect_of(None), size=3)(image)
    # the middle: 1 2 3 4 5 6 7 8 9; the corner above left: 1 1 1 1 2 2 4 4 9
    assert filtered[0, 0, 1, 1] == pytest.approx(0.5)
    assert filtered[0, 0, 0, 0] == pytest.approx(0.2)
    assert rejected.tolist() == [False]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_as_scipy_has_it(size):
    images = torch.rand(3, 2, 7, 9, generator=torch.Generator().manual_seed(size))
    expected = ndimage.median_filter(images.numpy(), size=(1, 1, size, size), mode="nearest")
    filtered = median_filter(suspect_of(None), size=size)(images).images
    assert np.array_equal(filtered.numpy(), expected)


def test_a_trigger_of_one_pixel_vanishes():
    plain = torch.full((2, 3, 8, 8), 0.7)
    stamped = triggers.build("one_pixel")(plain)
    assert not torch.equal(stamped, plain)
    assert torch.equal(median_filter(suspect_of(None))(stamped).images, plain)


def test_a_patch_of_the_windows_size_stays():
    stamped = triggers.build("patch", size=3)(torch.zeros(1, 1, 8, 8))
    assert median_filter(suspect_of(None))(stamped).images[0, 0, 6, 6] == 1


def test_images_are_not_written_into_and_no_clean_data_are_needed():
    images = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    median_filter(suspect_of(None))(images)
    assert torch.equal(images, before)
    assert filters.get("median_filter").facts["data"] is False
