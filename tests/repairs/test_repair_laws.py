"""What every repair promises: a model of the same shape, and nothing touched that is not its own."""

import pickle

import pytest
import torch

from fedsim.repairs import repairs
from fedsim.suspects import Recovered, Verdict
from tests.repairs.suspects import built, clouds, suspect

QUICK = {"epochs": 2, "batch_size": 8}
PARAMETERS = {
    "pruning": {},
    "fine_tuning": QUICK,
    "fine_pruning": QUICK,
    "unlearning": QUICK,
}
FOUND = Verdict(3.0, 2.0, 1, Recovered(torch.ones(1, 8, 8) / 4, torch.ones(1, 8, 8)))

names = pytest.mark.parametrize("name", PARAMETERS)


def repaired(name, model, seed=0, data=None):
    images, labels = data or clouds()
    return repairs.build(name, **PARAMETERS[name])(
        suspect(model, images, labels, seed, verdict=FOUND)
    )


def test_every_built_in_repair_is_looked_at_here():
    plugins = [repairs.get(name) for name in repairs.names()]
    built_in = {p.name for p in plugins if p.function.__module__.startswith("fedsim.")}
    assert built_in == set(PARAMETERS)


@names
@pytest.mark.parametrize("network", ["mlp", "small_cnn", "resnet18"])
def test_the_suspect_stays_as_it_is(name, network):
    model = built(network, **({"width": 4, "norm": "batch"} if network == "resnet18" else {}))
    images, labels = clouds()
    given = [images.clone(), labels.clone()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    result = repaired(name, model, data=(images, labels))

    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, given[0])
    assert torch.equal(labels, given[1])
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not model.training
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    own = {p.data_ptr() for p in model.parameters()}
    assert own.isdisjoint(p.data_ptr() for p in result.parameters())
    assert not any(module.training for module in result.modules())
    assert all(p.grad is None and not p.requires_grad for p in result.parameters())
    assert not any(module._forward_hooks for module in result.modules())
    shapes = {key: value.shape for key, value in result.state_dict().items()}
    assert shapes == {key: value.shape for key, value in before.items()}
    assert result(images).isfinite().all()


@names
def test_statistics_of_batchnorm_stay(name):
    model = built("resnet18", width=4, norm="batch")
    result = repaired(name, model)
    for (key, old), new in zip(model.named_buffers(), result.buffers(), strict=True):
        assert torch.equal(old, new), key


@names
def test_the_same_generator_gives_the_same_model(name):
    model = built("mlp", hidden=[16])
    one, two, other = (repaired(name, model, seed) for seed in (3, 3, 4))
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True)]
    assert all(same)
    if name != "pruning":  # which may prune the same units for another half of the data
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)


@names
@pytest.mark.parametrize("count", [0, 1])
def test_too_little_clean_data_is_refused(name, count):
    images, labels = clouds()
    few = (images[:count], labels[:count]) if count else (None, None)
    told = rf"^{name}: needs at least 2 clean images .*got {'1' if count else 'none'}$"
    with pytest.raises(ValueError, match=told):
        repairs.build(name)(suspect(built("mlp"), *few, verdict=FOUND))


@names
def test_two_images_are_enough(name):
    images, labels = clouds(2)
    assert repaired(name, built("mlp", num_classes=2), data=(images, labels)) is not None


@pytest.mark.parametrize("name", ["pruning", "fine_pruning"])
def test_a_network_without_a_hidden_layer_cannot_be_pruned(name):
    with pytest.raises(ValueError, match=f"^{name}: the network has neither"):
        repaired(name, built("mlp", hidden=[]))


@pytest.mark.parametrize("name", ["fine_tuning", "unlearning"])
def test_but_it_can_be_trained(name):
    before = built("mlp", hidden=[])
    after = repaired(name, before)
    assert not torch.equal(before.fc1.weight, after.fc1.weight)


@names
def test_pickles_and_cites(name):
    repair = repairs.build(name, **PARAMETERS[name])
    again, (images, labels) = pickle.loads(pickle.dumps(repair)), clouds()
    model = built("mlp", hidden=[8])
    one = repair(suspect(model, images, labels, verdict=FOUND))
    two = again(suspect(model, images, labels, verdict=FOUND))
    assert torch.equal(one(images), two(images))
    assert "Paper:" in (repair.func.__doc__ or "")
