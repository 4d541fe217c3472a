"""What every network promises; a registered model without a row fails the suite."""

import pickle
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from fedsim.models import models
from fedsim.seeding import seeded
from fedsim.tensors import flatten_params, layers_of


class Row(NamedTuple):
    """Parameters to build with, the smallest image, an odd one, and whether vmap works."""

    parameters: dict[str, object]
    smallest: tuple[int, int, int]
    odd: tuple[int, int, int]
    vectorises: bool = True


ROWS = {
    "mlp": [
        Row({}, (1, 1, 1), (2, 7, 5)),
        Row({"hidden": [9, 7], "activation": "tanh"}, (1, 1, 1), (3, 5, 9)),
        Row({"hidden": []}, (1, 1, 1), (2, 7, 5)),
    ],
    "lenet5": [Row({}, (1, 28, 28), (3, 37, 29))],
    "dba_cnn": [Row({}, (1, 16, 16), (3, 17, 23))],
    "small_cnn": [Row({}, (1, 8, 8), (3, 9, 15))],
    "resnet18": [
        Row({"width": 4}, (1, 8, 8), (3, 9, 13)),
        Row({"width": 4, "norm": "batch"}, (1, 8, 8), (3, 9, 13), vectorises=False),
    ],
}
CASES = [
    pytest.param(name, row, id=f"{name}-{row.parameters}") for name in ROWS for row in ROWS[name]
]


def built(name: str, row: Row, shape: tuple[int, int, int], num_classes: int = 5) -> nn.Module:
    with seeded(3, "test model"):
        module: nn.Module = models.build(name, **row.parameters)(shape, num_classes)
    return module


def batch(shape: tuple[int, int, int], size: int = 6) -> Tensor:
    return torch.rand(size, *shape, generator=torch.Generator().manual_seed(1))


def test_every_model_has_a_row():
    assert set(ROWS) == set(models.names())


@pytest.mark.parametrize(("name", "row"), CASES)
def test_logits_have_one_column_per_class(name, row):
    for shape in (row.smallest, row.odd):
        logits = built(name, row, shape)(batch(shape))
        assert logits.shape == (6, 5)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "row"), CASES)
def test_gradients_reach_every_parameter(name, row):
    module = built(name, row, row.odd)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    nn.functional.cross_entropy(module(batch(row.odd)), labels).backward()
    for parameter_name, parameter in module.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize(("name", "row"), CASES)
def test_an_image_is_judged_alone_in_eval_mode(name, row):
    module, images = built(name, row, row.odd).eval(), batch(row.odd)
    alone = torch.cat([module(images[i : i + 1]) for i in range(len(images))])
    torch.testing.assert_close(module(images), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_training_mode_draws_nothing_at_random(name, row):
    module, images = built(name, row, row.odd).train(), batch(row.odd)
    before = torch.random.get_rng_state()
    assert torch.equal(module(images), module(images))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_the_input_is_left_alone(name, row):
    images = batch(row.odd)
    kept = images.clone()
    built(name, row, row.odd)(images)
    assert torch.equal(images, kept)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_same_seed_same_parameters(name, row):
    first, second = (flatten_params(built(name, row, row.odd)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_pickling_keeps_the_outputs(name, row):
    module, images = built(name, row, row.odd).eval(), batch(row.odd)
    copy = pickle.loads(pickle.dumps(module))
    assert torch.equal(copy(images), module(images))
    assert len(pickle.dumps(models.build(name, **row.parameters))) < 500


@pytest.mark.parametrize(("name", "row"), CASES)
def test_float64_computes_in_float64(name, row):
    module, images = built(name, row, row.odd).eval(), batch(row.odd)
    single = module(images)
    double = module.double()(images.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_the_last_layer_is_the_one_of_the_classes(name, row):
    module = built(name, row, row.odd)
    layers, params = layers_of(module), flatten_params(module)
    assert len(params[layers.last_weight]) % 5 == 0
    assert layers.last_bias is not None
    assert len(params[layers.last_bias]) == 5


@pytest.mark.parametrize(("name", "row"), [case for case in CASES if case.values[1].vectorises])
def test_vmap_over_stacked_models_matches_a_loop(name, row):
    modules = [built(name, row, row.odd), built(name, row, row.odd)]
    with torch.no_grad():
        for parameter in modules[1].parameters():
            parameter.mul_(1.1)
    params, buffers = stack_module_state(modules)
    images = batch(row.odd)

    def logits(params, buffers):
        return functional_call(modules[0], (params, buffers), (images,))

    together = vmap(logits)(params, buffers)
    looped = torch.stack([module(images) for module in modules])
    torch.testing.assert_close(together, looped, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "row"), CASES)
def test_shapes_that_cannot_work_are_one_sentence(name, row):
    c, h, w = row.smallest
    for shape in ((c, h - 1, w), (c, h, w - 1), (0, h, w)):
        numbers = " × ".join(map(str, shape))
        with pytest.raises(ValueError, match=rf"^{name} needs .*; got {numbers}$"):
            built(name, row, shape)
