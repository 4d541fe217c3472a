import pytest
import torch

from fedsim.filters.autoencoder_filter import autoencoder_filter
from fedsim.triggers import triggers
from tests.filters.clean_digits import clean_digits, suspect_of


@pytest.fixture(scope="module")
def fitted():
    """The images behind autoencoders of few and of more epochs."""
    root, test = clean_digits()
    return {
        epochs: autoencoder_filter(suspect_of(root.images), epochs=epochs)(test.images)
        for epochs in (1, 30)
    }


def error(filtered):
    _, test = clean_digits()
    return float((filtered.images - test.images).square().mean())


def test_shape_and_range_stay_and_nothing_is_rejected(fitted):
    _, test = clean_digits()
    images, rejected = fitted[30]
    assert images.shape == test.images.shape
    assert 0 <= images.min() < images.max() <= 1
    assert not rejected.any()


def test_the_error_falls_below_that_of_the_mean_image(fitted):
    root, test = clean_digits()
    of_mean = float((root.images.mean(0) - test.images).square().mean())
    assert error(fitted[30]) < 0.5 * of_mean
    assert error(fitted[30]) < 0.5 * error(fitted[1])


def test_a_patch_comes_out_fainter_than_the_digit():
    root, test = clean_digits()
    clean = autoencoder_filter(suspect_of(root.images), epochs=30)
    faded = clean(triggers.build("patch", size=2)(test.images)).images
    assert float(faded[:, :, -1, -1].mean()) < 0.5


def test_a_wider_code_loses_less():
    root, _ = clean_digits()
    errors = [
        error(
            autoencoder_filter(suspect_of(root.images), code=code, epochs=15)(
                clean_digits()[1].images
            )
        )
        for code in (2, 32)
    ]
    assert errors[1] < errors[0]


def test_the_generator_decides_alone():
    root, test = clean_digits()

    def once(seed):
        return autoencoder_filter(suspect_of(root.images, seed=seed), epochs=1)(test.images).images

    first = once(1)
    torch.rand(5)
    assert torch.equal(first, once(1))
    assert not torch.equal(first, once(2))


def test_without_clean_images_there_is_nothing_to_learn():
    with pytest.raises(ValueError, match=r"^autoencoder_filter: needs 1 clean images; got 0\."):
        autoencoder_filter(suspect_of(None))
