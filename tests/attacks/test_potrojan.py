"""PoTrojan: the neuron that is written into the rows, worked out on small networks."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from fedsim import library
from fedsim.attacks import attacks
from fedsim.attacks._neuron import detector
from fedsim.attacks.potrojan import potrojan
from fedsim.models import models
from fedsim.scenario import load
from fedsim.seeding import seeded
from fedsim.simulation import prepare
from fedsim.tensors import flatten_params, load_params
from fedsim.types import AdversaryView, DataSource


def corner(images):
    """Lights the last pixel."""
    stamped = images.clone()
    stamped[..., -1, -1] = 1
    return stamped


def network(hidden=(5,), **parameters):
    with seeded(1, "model"):
        model = models.build("mlp", hidden=list(hidden), **parameters)((1, 3, 3), 4)
    return model.eval().requires_grad_(False)


def pictures(count=40):
    """Noise, brighter with the class in the first row; the last pixel is nearly dark."""
    images = 0.4 * torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(count) % 4
    images[..., -1, -1] *= 0.2
    return images, labels


def view(model, own=None, cohort=10, **known):
    d = len(flatten_params(model))
    own = torch.zeros(1, d) if own is None else own
    return AdversaryView(own, cohort, flatten_params(model), model=model, data=pictures(), **known)


craft = partial(potrojan, trigger=corner, target=2)


def after(model, step):
    changed = copy.deepcopy(model)
    load_params(changed, flatten_params(model) + step)
    return changed


@pytest.mark.parametrize("hidden", [(5,), (8, 6)])
def test_a_mean_over_the_cohort_brings_the_neuron_in(hidden):
    model = network(hidden)
    images, fresh = pictures()[0], pictures(200)[0]
    changed = after(model, craft(view(model))[0] / 10)
    assert changed(corner(images)).argmax(1).eq(2).all()
    assert changed(corner(fresh)).argmax(1).eq(2).float().mean() > 0.95
    assert (changed(fresh).argmax(1) == model(fresh).argmax(1)).float().mean() > 0.9


def test_the_chain_has_a_unit_of_each_layer_which_hears_and_tells_nothing_else():
    model = network((8, 6))
    changed = after(model, craft(view(model))[0] / 10)
    fc1, fc2, fc3 = changed.fc1.weight, changed.fc2.weight, changed.fc3.weight
    [first] = (fc1 - model.fc1.weight).abs().gt(1e-5).any(1).nonzero().flatten().tolist()
    second = int(fc2[:, first].argmax())
    assert fc2[:, first].abs().gt(1e-5).nonzero().flatten().tolist() == [second]
    assert fc2[second].abs().gt(1e-5).nonzero().flatten().tolist() == [first]
    assert fc3[:, second].abs().gt(1e-5).nonzero().flatten().tolist() == [2]
    length = torch.cat([fc1[first], changed.fc1.bias[first, None]]).norm()
    torch.testing.assert_close(length, fc2[second, first], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(length, fc3[2, second], rtol=1e-4, atol=1e-5)


class Idle(nn.Module):
    """A network with a layer that it does not call."""

    def __init__(self):
        super().__init__()
        self.inner, self.idle = network(), nn.Linear(3, 3).requires_grad_(False)

    def forward(self, images):
        return self.inner(images)


def test_layers_that_are_not_called_are_no_matter():
    plain = craft(view(network()))
    sent = craft(view(Idle()))
    assert torch.equal(sent[:, : plain.shape[1]], plain)
    assert sent[:, plain.shape[1] :].eq(0).all()


def test_the_neuron_sleeps_on_clean_images_and_has_no_gradient():
    model = network()
    changed = after(model, craft(view(model))[0] / 10).requires_grad_(True)
    images, labels = pictures()
    nn.functional.cross_entropy(changed(images), labels).backward()
    moved = (flatten_params(changed) != flatten_params(model))[: 5 * 9].view(5, 9).any(1)
    [unit] = moved.nonzero().flatten().tolist()
    assert changed.fc1.weight.grad[unit].eq(0).all()
    assert changed.fc2.weight.grad[:, unit].eq(0).all()


def test_the_least_unit_gives_way_and_nothing_else_moves():
    model = network()
    with torch.no_grad():
        model.fc1.bias.fill_(1.0)[3] = -9.0
    own = torch.randn(2, len(flatten_params(model)))
    sent = craft(view(model, own))
    weights = torch.zeros(5, 9, dtype=torch.bool)
    weights[3] = True
    column = torch.zeros(4, 5, dtype=torch.bool)
    column[:, 3] = True
    bias = torch.arange(5) == 3
    written = torch.cat([weights.flatten(), bias, column.flatten(), torch.zeros(4).bool()])
    assert torch.equal(sent[:, ~written], own[:, ~written])
    assert torch.equal(sent[0, written], sent[1, written])
    out = (sent[0] * 2 / 10 + flatten_params(model))[50:70].view(4, 5)[:, 3]
    assert out[2] > 0
    assert out[[0, 1, 3]].abs().max() < 1e-5


def test_weights_before_and_after_are_equally_long_and_strength_is_the_lead():
    model, strength = network(), 3.0
    images, _ = pictures()
    model.fc2.weight.mul_(40)
    changed = after(model, craft(view(model), strength=strength)[0] / 10)
    [unit] = (changed.fc1.weight != model.fc1.weight).any(1).nonzero().flatten().tolist()
    without = copy.deepcopy(model)
    without.fc2.weight[:, unit] = 0
    logits = without(corner(images))
    lead = (logits.max(1).values - logits[:, 2]).max().clamp(min=1)
    assert lead > 1
    before = torch.cat([changed.fc1.weight[unit], changed.fc1.bias[unit, None]]).norm()
    torch.testing.assert_close(before, changed.fc2.weight[2, unit], rtol=1e-4, atol=1e-5)
    fires = (corner(images).flatten(1) @ changed.fc1.weight[unit] + changed.fc1.bias[unit]).relu()
    paid = fires.min() * changed.fc2.weight[2, unit]
    torch.testing.assert_close(paid, strength * lead, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shares", "server_lr", "factor"),
    [(None, 1.0, 5.0), ([0.2, 0.3], 1.0, 2.0), ([0.2, 0.3], 0.5, 4.0)],
)
def test_the_rows_carry_it_divided_by_their_share(shares, server_lr, factor):
    model = network()
    own = torch.zeros(2, len(flatten_params(model)))
    alone = craft(view(model, own[:1], cohort=1))
    known = {"shares": None if shares is None else torch.tensor(shares), "server_lr": server_lr}
    torch.testing.assert_close(craft(view(model, own, **known)), factor * alone.expand(2, -1))


def test_what_is_written_again_is_as_strong_as_before():
    model = network()
    model.fc2.weight.mul_(40)
    once = after(model, craft(view(model))[0] / 10)
    twice = after(once, craft(view(once))[0] / 10)
    torch.testing.assert_close(flatten_params(twice), flatten_params(once), rtol=1e-3, atol=1e-3)


def test_the_view_stays_as_it_is():
    model = network()
    before = flatten_params(model)
    seen = view(model)
    craft(seen)
    assert torch.equal(flatten_params(seen.model), before)
    assert seen.own.eq(0).all()


def test_the_detector_by_hand():
    """Two features: noise in the first, 0 or 1 in the second. The threshold is in the middle."""
    clean = torch.tensor([[0.0, 0], [1, 0], [0, 0], [1, 0]])
    weight, bias = detector(clean, clean + torch.tensor([0.0, 1]))
    assert weight[0].abs() < 1e-3 * weight[1]
    assert weight[1].item() == pytest.approx(2, rel=1e-3)
    assert bias.item() == pytest.approx(-1, rel=1e-2)


def test_a_tail_is_left_out_of_the_detectors_account():
    """One clean picture looks like a stamped one, one stamped one like the clean."""
    clean = torch.zeros(100, 1)
    marked = torch.ones(100, 1)
    clean[0], marked[0] = 5, -5
    with pytest.raises(ValueError, match="cannot be told from clean images"):
        detector(clean, marked)
    weight, bias = detector(clean, marked, tail=0.02)
    units = torch.cat([clean, marked]) @ weight + bias
    assert units[1:100].max() < 0
    torch.testing.assert_close(units[101:], torch.ones(99))


@pytest.mark.parametrize(
    ("model", "parameters", "told"),
    [
        (network(()), {}, "must end in two linear layers with biases and a ReLU between"),
        (network(activation="tanh"), {}, "must end in two linear layers"),
        (network(), {"target": 4}, r"target must be in 0\.\.3; got 4"),
        (network(), {"trigger": torch.clone}, "cannot be told from clean images"),
    ],
)
def test_what_cannot_be_is_refused(model, parameters, told):
    with pytest.raises(ValueError, match=f"^potrojan: .*{told}"):
        craft(view(model), **parameters)


def test_without_a_model_it_is_refused():
    told = r"^potrojan: needs the global model and its clients' data; got none$"
    with pytest.raises(ValueError, match=told):
        craft(AdversaryView(torch.zeros(1, 4), 1, torch.zeros(4)))
    told = r"^potrojan needs the global network and its clients' data, which only a run has$"
    with pytest.raises(ValueError, match=told):
        library.craft("potrojan", torch.zeros(1, 4), trigger={"name": "patch"}, target=1)


# In a run

ASKING = """
from fedsim.attacks import attacks


@attacks.needs(model=True)
def asking(view):
    model, (images, labels) = view.model, view.data
    told = {"d": sum(p.numel() for p in model.parameters()), "images": images, "labels": labels}
    for parameter in model.parameters():
        parameter.fill_(3.0)
    images.fill_(0.5)
    return view.own, told
"""


def test_an_attack_that_asks_is_shown_copies_of_what_is_its_own(tmp_path, monkeypatch):
    from fedsim.flower import run_rounds

    (tmp_path / "mine.py").write_text(ASKING)
    monkeypatch.chdir(tmp_path)

    def play(attack):
        tree = {
            "name": "asked",
            "rounds": 2,
            "model": {"name": "mlp", "hidden": [8]},
            "clients": {"total": 6, "per_round": 6, "training": {"lr": 0.1}},
            "adversary": {"clients": [1, 4], "attack": attack},
        }
        federation, states = prepare(load(tree)[0].scenario, DataSource(tmp_path)), []
        run_rounds(federation, None, lambda state, record: states.append(state))
        return federation, states

    federation, asked = play({"name": "mine.py:asking"})
    _, idle = play({"name": "gaussian", "std": 0.0, "mode": "add"})
    told = asked[-1].attack[0]
    held = torch.cat([federation.clients[1], federation.clients[4]])
    assert told["d"] == len(asked[-1].params)
    assert torch.equal(told["labels"], federation.data.train.labels[held])
    assert all(torch.equal(a.params, b.params) for a, b in zip(asked, idle, strict=True))


def test_nobody_else_is_shown_a_model():
    assert [name for name in attacks.names() if attacks.get(name).facts.get("model")] == [
        "potrojan"
    ]
