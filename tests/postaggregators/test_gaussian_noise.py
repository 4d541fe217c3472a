"""The noise has the size it is said to have, and comes from the round's generator alone."""

import pytest
import torch

from fedsim.postaggregators import postaggregators
from fedsim.postaggregators.gaussian_noise import gaussian_noise
from fedsim.types import ServerView


def view(seed=0, n=4, d=20_000):
    return ServerView(
        client_ids=tuple(range(n)),
        num_examples=torch.ones(n),
        params=torch.zeros(d),
        generator=torch.Generator().manual_seed(seed),
    )


def test_the_size_of_the_noise_on_the_mean_and_on_the_sum():
    update = torch.full((20_000,), 5.0)
    for on, expected in (("mean", 0.2), ("sum", 0.05)):
        noise = gaussian_noise(update, view(), std=0.2, on=on) - update
        assert noise.std().item() == pytest.approx(expected, rel=0.03)
        assert noise.mean().item() == pytest.approx(0, abs=expected / 30)


def test_on_the_sum_is_the_same_draw_over_n():
    update = torch.zeros(50)
    whole = gaussian_noise(update, view(), std=1.0)
    torch.testing.assert_close(gaussian_noise(update, view(), std=1.0, on="sum"), whole / 4)


def test_the_generator_alone_decides():
    update = torch.randn(9)
    torch.manual_seed(1)
    first = gaussian_noise(update, view(3), std=1.0)
    torch.manual_seed(2)
    assert torch.equal(gaussian_noise(update, view(3), std=1.0), first)
    assert not torch.equal(gaussian_noise(update, view(4), std=1.0), first)


def test_two_draws_of_one_round_differ():
    shared, update = view(), torch.zeros(9)
    first = gaussian_noise(update, shared, std=1.0)
    assert not torch.equal(gaussian_noise(update, shared, std=1.0), first)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_noise_leaves_the_update(dtype):
    update = torch.randn(9, dtype=dtype)
    noisy = gaussian_noise(update, view(), std=0.0)
    assert noisy.dtype == dtype
    assert torch.equal(noisy, update)


def test_nothing_changes_in_place():
    update = torch.ones(9)
    gaussian_noise(update, view(), std=1.0)
    assert torch.equal(update, torch.ones(9))


@pytest.mark.parametrize("bad", [{"std": -0.1}, {"std": 1.0, "on": "median"}, {}])
def test_bad_parameters_are_refused(bad):
    with pytest.raises(ValueError, match="gaussian_noise: "):
        postaggregators.build("gaussian_noise", **bad)
