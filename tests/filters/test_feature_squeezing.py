import math

import pytest
import torch
from torch import nn

from fedsim.filters.feature_squeezing import feature_squeezing, reduced
from tests.filters.clean_digits import suspect_of


class Brightness(nn.Module):
    """Two classes: the logit of the first is 10 times the first pixel, that of the other 0."""

    def forward(self, images):
        first = 10 * images[:, 0, 0, 0]
        return torch.stack([first, torch.zeros_like(first)], dim=1)


def grey(*shades):
    return torch.tensor(shades).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(("bits", "expected"), [(1, 0.0), (2, 1 / 3), (8, 102 / 255)])
def test_shades_by_hand(bits, expected):
    assert reduced(torch.tensor([[[[0.4]]]]), bits).item() == pytest.approx(expected)


def test_the_distance_by_hand():
    # 0.4 becomes 0: |σ(4) − σ(0)| twice; 0.95 becomes 1: next to nothing; a threshold in between
    far, near = (2 * abs(sigmoid(10 * a) - sigmoid(10 * b)) for a, b in ((0.4, 0), (0.9, 1)))
    assert near < 2 * abs(sigmoid(0.2 * 10) - sigmoid(0)) < far
    screen = feature_squeezing(suspect_of(grey(0.2), Brightness()), false_positive_rate=0.5)
    assert screen(grey(0.4, 0.9, 0.2)).rejected.tolist() == [True, False, False]


def test_the_median_sees_a_bright_first_pixel():
    images = torch.zeros(2, 1, 3, 3)
    images[1, 0, 0, 0] = 1
    # the window of the first pixel holds it four times, that of 3 × 3 four times of nine
    blind = feature_squeezing(suspect_of(grey(0.1), Brightness()), window=1)
    seeing = feature_squeezing(suspect_of(grey(0.1), Brightness()), window=3)
    assert blind(images).rejected.tolist() == [False, False]
    assert seeing(images).rejected.tolist() == [False, True]


def test_at_most_the_stated_share_of_the_clean_images_is_rejected():
    clean = torch.rand(100, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    for rate, count in ((0.05, 5), (0.3, 30)):
        screen = feature_squeezing(suspect_of(clean, Brightness()), false_positive_rate=rate)
        assert screen(clean).rejected.sum() == count


def test_images_pass_as_they_are():
    clean = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(feature_squeezing(suspect_of(clean, Brightness()))(clean).images, clean)


def test_without_clean_images_there_is_no_threshold():
    with pytest.raises(ValueError, match=r"^feature_squeezing: needs 1 clean images; got 0\."):
        feature_squeezing(suspect_of(None, Brightness()))
