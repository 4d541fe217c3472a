"""Where the units of a network are, how active they are, and what switching them off does."""

import pytest
import torch
from torch import nn

from fedsim.channels import (
    accuracy,
    biases,
    coordinates,
    last_units,
    mean_activation,
    spare_units,
    switch_off,
)
from fedsim.simulation.federation import Normalized
from fedsim.tensors import flatten_params
from tests.repairs.suspects import built, halves_lit, threshold_network


@pytest.mark.parametrize(
    ("model", "shape", "parameters", "module", "units"),
    [
        ("mlp", (1, 8, 8), {"hidden": [20, 10]}, "fc2", 10),
        ("lenet5", (1, 28, 28), {}, "conv2", 16),
        ("small_cnn", (3, 8, 8), {}, "conv3", 64),
        ("resnet18", (3, 8, 8), {"width": 4}, "stage4.1.norm2", 32),
        ("resnet18", (3, 8, 8), {"width": 4, "norm": "batch"}, "stage4.1.norm2", 32),
    ],
)
def test_the_last_units(model, shape, parameters, module, units):
    site = last_units(built(model, shape, **parameters))
    assert site[:2] == (module, units)


def test_a_convolution_that_gives_the_logits_is_not_hidden():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 10, 6), nn.Flatten())
    assert last_units(model)[:2] == ("0", 6)


def test_a_model_that_normalises_its_input_has_them_too():
    model = Normalized(built("mlp"), torch.zeros(1), torch.ones(1))
    assert last_units(model).module == "network.fc1"


def test_activation_is_that_of_the_network():
    tanh = built("mlp", activation="tanh")
    assert last_units(tanh).activation(torch.tensor(-20.0)) == -1
    assert last_units(built("mlp")).activation(torch.tensor(-20.0)) == 0


def test_mean_activation_of_linear_units_by_hand():
    model, (images, _) = threshold_network(), halves_lit(0.25)
    got = mean_activation(model, last_units(model), images)
    assert got.tolist() == pytest.approx([0.5, 0.5, 0.25, 0])


def test_a_negative_value_before_the_relu_is_no_activation():
    model, (images, _) = threshold_network(), halves_lit()
    with torch.no_grad():
        model[1].bias -= 0.75
    got = mean_activation(model, last_units(model), images)
    assert got.tolist() == pytest.approx([0.125, 0.125, 0, 0])


def test_mean_activation_of_channels_is_over_their_map():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, -1]).view(2, 1, 1, 1))
        model[0].bias.copy_(torch.tensor([0.0, 0.5]))
    images = torch.tensor([[0.0, 0, 1, 1], [1, 1, 1, 1]]).view(2, 1, 2, 2)
    got = mean_activation(model, last_units(model), images)
    assert got.tolist() == pytest.approx([0.75, 0.125])  # (.5 + 1) / 2, (.5 · ½ + 0) / 2


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("mlp", {"hidden": [6]}),
        ("mlp", {"hidden": [6], "activation": "tanh"}),
        ("small_cnn", {}),
        ("resnet18", {"width": 4, "norm": "group"}),
        ("resnet18", {"width": 4, "norm": "batch"}),
    ],
)
def test_units_that_are_off_are_still_and_no_others(model, parameters):
    network, images = built(model, **parameters), torch.rand(5, 1, 8, 8)
    site, off = last_units(network), torch.tensor([1, 4])
    before, was = mean_activation(network, site, images), flatten_params(network)
    marked = coordinates(network, site, off)
    switch_off(network, site, off)
    after, now = mean_activation(network, site, images), flatten_params(network)
    assert after[off].eq(0).all()
    left = torch.ones(site.num_units, dtype=torch.bool).index_fill(0, off, False)
    assert torch.equal(after[left], before[left])
    assert torch.equal(now != was, marked & (was != 0))
    assert biases(network, site, off).sum() == 2
    assert not (biases(network, site, off) & ~marked).any()


def test_accuracy_by_hand():
    model, (images, labels) = threshold_network(), halves_lit()
    assert accuracy(model, images, labels) == 1
    assert accuracy(model, images, labels.index_fill(0, torch.tensor([0, 1, 2]), 0)) == 0.95


def test_spared_are_units_until_the_accuracy_falls():
    model, held = threshold_network(), halves_lit(0.25)
    site, order = last_units(model), torch.tensor([3, 2, 1, 0])
    assert spare_units(model, site, order, held, 0.1).tolist() == [3, 2]
    # without unit 1 both logits are 0 for class 1, and the first of equals wins: half are right
    assert spare_units(model, site, order, held, 0.5).tolist() == [3, 2, 1]
    assert torch.equal(model[1].weight, torch.eye(4))


def test_the_search_ends_at_the_first_fall():
    """Without pixel 1, class 1 is read as class 0; the others are not even tried."""
    model, held = threshold_network(), halves_lit()
    order = torch.tensor([1, 3, 2, 0])
    assert spare_units(model, last_units(model), order, held, 0.1).tolist() == []


def test_one_unit_always_stays():
    model, held = threshold_network(), halves_lit()
    assert len(spare_units(model, last_units(model), torch.arange(4), held, 1.0)) == 3
