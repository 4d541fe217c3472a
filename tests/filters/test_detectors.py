import pytest
import torch

from fedsim.filters import filters
from fedsim.filters._calibration import limit
from fedsim.triggers import triggers
from tests.filters.clean_digits import clean_digits, suspect_of

DETECTORS = ["svm_detector", "tree_detector"]


@pytest.fixture(scope="module", params=DETECTORS)
def screen(request):
    root, _ = clean_digits()
    return filters.build(request.param)(suspect_of(root.images))


def rejected(screen, images):
    return float(screen(images).rejected.float().mean())


def test_digits_pass_and_noise_does_not(screen):
    _, test = clean_digits()
    noise = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert rejected(screen, test.images) < 0.15
    assert rejected(screen, noise) > 0.9


def test_a_bright_patch_is_foreign_and_one_pixel_is_not(screen):
    _, test = clean_digits()
    assert rejected(screen, triggers.build("patch", size=3)(test.images)) > 0.9
    assert rejected(screen, triggers.build("one_pixel")(test.images)) < 0.2


def test_images_pass_as_they_are(screen):
    _, test = clean_digits()
    assert torch.equal(screen(test.images).images, test.images)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_higher_rate_rejects_more(name):
    root, test = clean_digits()
    shares = [
        rejected(
            filters.build(name, false_positive_rate=rate)(suspect_of(root.images)), test.images
        )
        for rate in (0.02, 0.4)
    ]
    assert shares[0] + 0.1 < shares[1] < 0.6


@pytest.mark.parametrize("name", DETECTORS)
def test_the_same_generator_makes_the_same_detector(name):
    root, test = clean_digits()
    twice = [filters.build(name)(suspect_of(root.images, seed=3))(test.images) for _ in range(2)]
    assert torch.equal(twice[0].rejected, twice[1].rejected)


@pytest.mark.parametrize("name", DETECTORS)
def test_too_few_clean_images_are_refused(name):
    root, _ = clean_digits()
    with pytest.raises(ValueError, match=rf"^{name}: needs 8 clean images; got 7\."):
        filters.build(name)(suspect_of(root.images[:7]))


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.01, 20.0), (0.05, 19.0), (0.1, 18.0), (0.5, 10.0), (0.99, 1.0)]
)
def test_the_threshold_of_twenty_scores(rate, expected):
    assert limit(torch.arange(1.0, 21.0).flip(0), rate) == expected
