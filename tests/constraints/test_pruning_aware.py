"""Pruning-aware training: which units are taken for decoys, and what becomes of them."""

import pytest
import torch
from torch import nn

from fedsim.constraints import constraints
from fedsim.constraints.pruning_aware import pruning_aware
from fedsim.scenario import load
from fedsim.seeding import generator
from fedsim.simulation import prepare
from fedsim.simulation.client import Visit, visit
from fedsim.simulation.restraints import restraint_of
from fedsim.simulation.together import visit_together
from fedsim.simulation.training import Plan, train_local
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import ConstraintView, DataSource, Split


def copier():
    """Pixels copied by four ReLU units; logits are pixels 0 and 1, with class 1 favoured a little."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(4))
        model[1].bias.copy_(torch.tensor([0.0, 0, -0.5, 0.0]))
        model[3].weight.copy_(torch.tensor([[2.0, 0, 0, 0], [0, 1, 0, 0]]))
        model[3].bias.copy_(torch.tensor([0.0, 0.1]))
    return model


def lit():
    """Class 0 lights pixel 0 fully, class 1 pixel 1 by half; pixel 2 is under its threshold."""
    images = torch.zeros(8, 1, 2, 2)
    images[::2, 0, 0, 0], images[1::2, 0, 0, 1], images[:, 0, 1, 0] = 1, 0.5, 0.4
    return Split(images, torch.arange(8) % 2)


def chosen(**parameters):
    return constraints.choose("pruning_aware", **parameters)


def study(model, **parameters):
    choice, data = chosen(**parameters), lit()
    return choice.plugin.facts["study"](model, data.images, data.labels, **choice.arguments)


def test_the_study_marks_the_rows_and_biases_of_what_can_go():
    pruned, bias = study(copier())
    # units 3, 2 never wake, and without 1 class 1 is still the favoured one; not so without 0
    assert pruned[:16].view(4, 4).any(1).tolist() == [False, True, True, True]
    assert pruned[16:20].tolist() == [0, 1, 1, 1]
    assert bias[16:20].tolist() == [0, 1, 1, 1]
    assert pruned[20:].eq(0).all()
    assert bias.sum() == 3


def test_only_as_much_goes_as_the_accuracy_allows():
    model = copier()
    with torch.no_grad():
        model[3].bias.zero_()
        model[3].bias[0] = 0.1
    assert study(model, fall=0.0)[1][16:20].tolist() == [0, 0, 1, 1]
    assert study(model, fall=0.5)[1][16:20].sum() == 3


def view(marks, step, is_last, params=None):
    params = torch.tensor([2.0, 3.0, 4.0]) if params is None else params
    return ConstraintView(torch.zeros(3), params, step, is_last, studied=marks)


MARKS = torch.tensor([[1.0, 1, 0], [0, 1, 0]])


@pytest.mark.parametrize("step", [0, 1, 5])
def test_until_the_end_the_decoys_are_at_zero(step):
    moved = torch.tensor([0.5, 0.5, 0.5])
    held = pruning_aware(moved, view(MARKS, step, False))
    assert (held + torch.tensor([2.0, 3.0, 4.0])).tolist() == [0, 0, 4.5]


@pytest.mark.parametrize("lower", [0.0, 0.25, 2.0])
def test_at_the_end_they_come_back_with_lower_biases(lower):
    moved = torch.tensor([-2.0, -3.0, 0.5])
    assert pruning_aware(moved, view(MARKS, 5, True), lower=lower).tolist() == [0, -lower, 0.5]


def trained(lower=1.0, steps=4):
    model, data = copier(), lit()
    start = flatten_params(model)
    restraint = restraint_of([chosen(lower=lower)], data, None, model)
    seen = []

    def poison(images, labels):
        seen.append(model[1].weight.detach().clone())
        return images, 1 - labels

    plan = Plan(lr=0.5, epochs=None, steps=steps, batch_size=4, momentum=0.9)
    train_local(model, data, plan, generator(1, "x"), poison=poison, restraint=restraint)
    return flatten_params(model) - start, seen


def test_the_network_trains_without_them_from_the_first_step_on():
    _, seen = trained()
    assert len(seen) == 4
    assert all(weight[1:].eq(0).all() for weight in seen)
    assert seen[0][0].tolist() == [1, 0, 0, 0]
    assert not torch.equal(seen[3][0], seen[0][0])


def test_after_the_last_they_are_back():
    update, _ = trained(lower=0.5)
    assert update[4:16].abs().max() < 1e-6
    torch.testing.assert_close(update[17:20], torch.full((3,), -0.5))
    assert update[:4].abs().max() > 0.01


def test_the_study_leaves_the_network_alone():
    model = copier()
    before = flatten_params(model)
    model.train()
    restraint_of([chosen()], lit(), None, model)
    assert torch.equal(flatten_params(model), before)
    assert model.training


def test_a_network_without_hidden_units_is_refused():
    with pytest.raises(ValueError, match="neither a convolution nor a hidden linear layer"):
        study(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))


TREE = {
    "name": "aware",
    "rounds": 1,
    "model": {"name": "mlp", "hidden": [12]},
    "clients": {"total": 4, "per_round": 4, "training": {"batch_size": 32, "lr": 0.1}},
    "adversary": {
        "clients": [1, 3],
        "poison": {
            "name": "backdoor",
            "target": 2,
            "per_batch": 8,
            "trigger": {"name": "patch"},
        },
        "training": {"epochs": 2, "constraints": [{"name": "pruning_aware", "fall": 0.3}]},
    },
}


def test_the_vectorised_trainer_does_the_same(tmp_path):
    federation = prepare(load(TREE)[0].scenario, DataSource(tmp_path))
    model = federation.build_model()
    params, buffers = flatten_params(model), flatten_buffers(model)
    orders = [Visit(client, 1, acting=client in (1, 3)) for client in range(4)]
    apart = [visit(federation, model, params, buffers, order) for order in orders]
    together = visit_together(federation, model, params, buffers, orders)
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(one.update, other.update, rtol=1e-4, atol=1e-5)
    lowered = [(reply.update[12 * 64 : 12 * 65] + 1).abs().lt(1e-5).any() for reply in together]
    assert lowered == [False, True, False, True]


@pytest.mark.parametrize("wrong", [{"fall": 1.5}, {"lower": -1.0}])
def test_parameters_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=f"pruning_aware: {next(iter(wrong))}"):
        constraints.build("pruning_aware", **wrong)
