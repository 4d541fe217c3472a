"""The vectorised trainer against the sequential one: the same, but for the order of sums.

In float64 the two agree to some 1e-12 of updates of about 1: that is the algorithm. In float32 a
sum in another order is off by some 1e-7 of its size, and a few dozen steps of momentum add up.
"""

import pytest
import torch

from fedsim.seeding import generator
from fedsim.simulation import stacked, visit
from fedsim.simulation.client import Lesson
from fedsim.simulation.training import Plan, Restraint, train_local
from fedsim.simulation.vectorised import train_together
from fedsim.tensors import flatten_params, load_params
from fedsim.types import Split
from tests.simulation.cohorts import assert_same, everybody, in_double, trained, world

EXACT = {"rtol": 0.0, "atol": 1e-12}
SINGLE = {"rtol": 1e-4, "atol": 1e-5}
OWN = {
    **{"epochs": 2, "batch_size": 4, "lr": 0.1, "momentum": 0.5, "weight_decay": 0.0},
    **{"lr_decay": 0.9, "lr_milestones": [0.3, 0.7], "lr_factor": 0.3},
}
BACKDOOR = {"name": "backdoor", "target": 2, "trigger": {"name": "patch", "size": 2}}
ATTACKS = {
    "nobody": None,
    "once": {"poison": {**BACKDOOR, "fraction": 0.5}, "training": OWN},
    "batch": {"poison": {**BACKDOOR, "per_batch": 2}, "training": OWN},
    "round": {"poison": {"name": "generated", "steps": 2, "pretraining": 2, "hidden": 4}},
    "steps": {
        "poison": {"name": "label_flip", "mode": "random"},
        "training": {"steps": 11, "lr_milestones": [0.5]},
    },
    "learned": {"poison": {**BACKDOOR, "fraction": 0.5, "trigger": {"name": "a3fl"}}},
    "training alone": {"training": {"batch_size": 50, "epochs": 5, "momentum": 0.0}},
}
CONSTRAINTS = {
    "projection l2": [{"name": "projection", "norm": "l2", "radius": 0.3}],
    "projection linf": [{"name": "projection", "norm": "linf", "radius": 0.02, "every": 3}],
    "neurotoxin": [{"name": "neurotoxin", "ratio": 0.9}],
    "stealth l2": [{"name": "stealth", "distance": "l2", "weight": 0.7}],
    "stealth cosine": [{"name": "stealth", "distance": "cosine", "weight": 0.7}],
    "alternating": [{"name": "alternating", "clean_steps": 2, "rho": 0.01, "factor": 2.0}],
    "two": [
        {"name": "projection", "norm": "l2", "radius": 0.3},
        {"name": "neurotoxin", "ratio": 0.9},
    ],
}
NETWORKS = {
    "softmax regression": ({"name": "mlp", "hidden": []}, 8),
    "mlp tanh": ({"name": "mlp", "hidden": [9, 7], "activation": "tanh"}, 8),
    "normalised": ({"name": "mlp", "hidden": [9], "normalize": True}, 8),
    "lenet5": ({"name": "lenet5"}, 28),
    "small_cnn": ({"name": "small_cnn"}, 8),
    "resnet18": ({"name": "resnet18", "width": 2}, 8),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_equals_the_sequential_trainer_whatever_the_adversary_trains_on(tmp_path, attack):
    federation = world(tmp_path, ATTACKS[attack])
    orders = everybody(federation)
    assert len({len(indices) for indices in federation.clients}) > 4
    exactly = in_double(federation, orders)
    assert_same(trained(*exactly), trained(*exactly, visit), **EXACT)
    assert_same(trained(federation, orders), trained(federation, orders, visit), **SINGLE)


@pytest.mark.parametrize("constraints", CONSTRAINTS)
def test_it_holds_each_client_back_by_its_own_constraints(tmp_path, constraints):
    training = {**OWN, "constraints": CONSTRAINTS[constraints]}
    attack = {"poison": {**BACKDOOR, "per_batch": 2}, "training": training}
    federation = world(tmp_path, attack)
    orders = everybody(federation)
    exactly = in_double(federation, orders)
    replies = trained(*exactly)
    assert_same(replies, trained(*exactly, visit), **EXACT)
    assert_same(trained(federation, orders), trained(federation, orders, visit), **SINGLE)
    free = trained(*in_double(world(tmp_path, {**attack, "training": OWN}), orders))
    moved = [not torch.equal(a.update, b.update) for a, b in zip(replies, free, strict=True)]
    assert moved == [order.acting for order in orders]


def network(tmp_path, name):
    model, size = NETWORKS[name]
    data = {"dataset": {"name": "synthetic", "train": 30, "test": 2, "size": size}}
    training = {"epochs": 2, "batch_size": 6, "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    clients = {"total": 4, "per_round": 4, "training": training}
    attack = {"poison": {**BACKDOOR, "per_batch": 2}, "training": OWN}
    return world(tmp_path, attack, data=data, model=model, clients=clients)


@pytest.mark.parametrize("unfolded", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_it_trains_every_network(tmp_path, monkeypatch, name, unfolded):
    monkeypatch.setattr(stacked, "UNFOLDED", {"cpu"} if unfolded else set())
    federation = network(tmp_path, name)
    orders = everybody(federation)
    exactly = in_double(federation, orders)
    assert_same(trained(*exactly), trained(*exactly, visit), rtol=0, atol=1e-9)
    assert_same(trained(federation, orders), trained(federation, orders, visit), **SINGLE)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", NETWORKS)
def test_it_equals_the_sequential_trainer_on_the_gpu(tmp_path, name):
    federation = network(tmp_path, name).to(torch.device("cuda"))
    orders = everybody(federation)
    exactly = in_double(federation, orders)
    assert_same(trained(*exactly), trained(*exactly, visit), rtol=0, atol=1e-9)
    with torch.backends.cudnn.flags(allow_tf32=False):
        assert_same(trained(federation, orders), trained(federation, orders, visit), **SINGLE)


def random_split(count, seed):
    draws = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 4, 4, generator=draws, dtype=torch.float64)
    return Split(images, torch.randint(0, 3, (count,), generator=draws))


def lessons():
    """Clients that differ in all that a lesson holds; some batches grow or shrink by a poison."""

    def doubled(images, labels):
        return torch.cat([images, 1 - images]), torch.cat([labels, (labels + 1) % 3])

    def first_alone(images, labels):
        return images[:1], labels[:1]

    halt = Restraint(on_update=[lambda update, step, is_last: update / 2 if is_last else update])
    odd = Restraint(is_clean=[lambda step: step % 2 == 1], clean=random_split(2, 9))
    given = [
        (Plan(lr=0.3, epochs=2, batch_size=3, momentum=0.9), None, None),
        (Plan(lr=0.1, epochs=None, steps=13, batch_size=2, weight_decay=0.1), doubled, None),
        (Plan(lr=0.2, epochs=4, batch_size=5, milestones=(0.5,), factor=0.1), first_alone, None),
        (Plan(lr=0.4, epochs=1, batch_size=64, momentum=0.3), None, halt),
        (Plan(lr=0.4, epochs=3, batch_size=4), doubled, odd),
    ]
    return [
        Lesson(random_split(5 + 2 * k, k), plan, generator(k, "shuffle"), poison, restraint)
        for k, (plan, poison, restraint) in enumerate(given)
    ]


def one_by_one(model, params):
    rows, losses = [], []
    for lesson in lessons():
        load_params(model, params)
        how = {"poison": lesson.poison, "restraint": lesson.restraint}
        losses.append(train_local(model, lesson.data, lesson.plan, lesson.shuffle, **how))
        rows.append(flatten_params(model))
    return torch.stack(rows), torch.tensor(losses)


def small_model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).double()


def test_every_client_has_its_own_rates_and_batches():
    model = small_model()
    params = flatten_params(model)
    rows, losses = one_by_one(model, params)
    found, found_losses = train_together(model, params, lessons())
    torch.testing.assert_close(found, rows, **EXACT)
    torch.testing.assert_close(found_losses.float(), losses, rtol=1e-5, atol=0)


@pytest.mark.parametrize("place", range(5))
def test_a_client_alone_is_trained_as_in_a_group(place):
    model = small_model()
    params = flatten_params(model)
    together, _ = train_together(model, params, lessons())
    alone, _ = train_together(model, params, lessons()[place : place + 1])
    torch.testing.assert_close(alone[0], together[place], **EXACT)


def test_a_client_that_diverges_takes_no_other_with_it(tmp_path):
    federation, orders = in_double(world(tmp_path), everybody(world(tmp_path)))
    wild = federation.clients[3]
    federation.data.train.images[wild] *= 1e200
    replies = trained(federation, orders)
    assert [bool(reply.update.isfinite().all()) for reply in replies] == [
        order.client != 3 for order in orders
    ]
    sane = [order for order in orders if order.client != 3]
    assert_same(
        [reply for reply in replies if reply.client != 3],
        trained(federation, sane, visit),
        **EXACT,
    )
