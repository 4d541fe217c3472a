"""Networks have the numbers of parameters that their papers print or their layers give."""

import pytest
import torch
from torch import nn

from fedsim.models import models

MNIST, CIFAR, DIGITS = (1, 28, 28), (3, 32, 32), (1, 8, 8)


def count(
    name: str, shape: tuple[int, int, int], num_classes: int = 10, **parameters: object
) -> int:
    module = models.build(name, **parameters)(shape, num_classes)
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "parameters", "expected"),
    [
        ("lenet5", MNIST, {}, 61_706),
        ("lenet5", CIFAR, {}, 62_006),  # the usual count of LeNet-5 on CIFAR-10
        ("dba_cnn", MNIST, {}, 431_080),
        ("mlp", MNIST, {"hidden": [200, 200]}, 199_210),  # printed by McMahan et al.
        ("mlp", MNIST, {}, 784 * 64 + 64 + 64 * 10 + 10),
        ("mlp", DIGITS, {"hidden": []}, 64 * 10 + 10),
        ("small_cnn", CIFAR, {}, 122_570),
        ("small_cnn", DIGITS, {}, 320 + 18_496 + 36_928 + 4_160 + 650),
        ("resnet18", CIFAR, {}, 11_173_962),
        ("resnet18", CIFAR, {"norm": "batch"}, 11_173_962),
        ("resnet18", CIFAR, {"width": 32}, 2_797_610),  # the 2.7 M of FLAME's table
    ],
)
def test_parameter_counts(name, shape, parameters, expected):
    assert count(name, shape, **parameters) == expected


def test_num_classes_changes_the_last_layer_only():
    assert count("lenet5", MNIST, 47) - count("lenet5", MNIST, 10) == 37 * (84 + 1)


def test_auror_network_has_two_hidden_tanh_layers():
    module = models.build("mlp", hidden=[50, 30], activation="tanh")(MNIST, 10)
    kinds = [type(layer) for layer in module]
    assert kinds == [nn.Flatten, nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]


def test_lenet5_pads_mnist_to_32_by_32_with_zeros():
    images = torch.rand(2, *MNIST, generator=torch.Generator().manual_seed(0))
    padded = models.build("lenet5")(MNIST, 10).pad(images)
    assert padded.shape == (2, 1, 32, 32)
    assert torch.equal(padded[..., 2:30, 2:30], images)
    assert padded.sum() == pytest.approx(images.sum())


@pytest.mark.parametrize("side", [28, 29, 31, 32])
def test_lenet5_sees_32_by_32_up_to_that_size(side):
    assert count("lenet5", (1, side, side)) == 61_706


def test_lenet5_refuses_digits_with_the_numbers():
    with pytest.raises(ValueError, match="at least 1 channel and 28 × 28 pixels; got 1 × 8 × 8"):
        models.build("lenet5")(DIGITS, 10)


def test_resnet18_has_no_buffers_with_group_norm():
    group, batch = (
        models.build("resnet18", norm=n, width=2)(CIFAR, 10) for n in ("group", "batch")
    )
    assert list(group.buffers()) == []
    assert len(list(batch.buffers())) == 20 * 3


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("mlp", {"hidden": [0]}, "mlp: hidden.0: must be greater than or equal to 1; got 0"),
        ("mlp", {"hidden": 64}, "mlp: hidden: "),
        ("mlp", {"activation": "gelu"}, "mlp: activation: must be 'relu' or 'tanh'; got 'gelu'"),
        ("resnet18", {"width": 3}, "resnet18: width: must be a multiple of 2; got 3"),
        ("resnet18", {"norm": "layer"}, "resnet18: norm: must be 'group' or 'batch'; got 'layer'"),
        ("lenet5", {"width": 3}, "lenet5: width: unknown parameter of 'lenet5'"),
    ],
)
def test_bad_parameters_are_one_line(name, parameters, message):
    with pytest.raises(ValueError, match=message) as caught:
        models.build(name, **parameters)
    assert "\n" not in str(caught.value)


def test_hidden_reads_back_as_a_list():
    assert models.choose("mlp").config() == {"name": "mlp", "hidden": [64], "activation": "relu"}
    assert models.choose("mlp", hidden=[20, 10]).config()["hidden"] == [20, 10]
