"""Local SGD against a plain loop written here, and against arithmetic done by hand."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from fedsim import models
from fedsim.seeding import generator
from fedsim.simulation.training import SGD, Plan, Restraint, train_local
from fedsim.types import Split


def _data(count: int) -> Split:
    draws = torch.Generator().manual_seed(3)
    images = torch.rand(count, 1, 4, 4, generator=draws)
    return Split(images, torch.randint(0, 3, (count,), generator=draws))


def _model() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))


def _lenet5() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return models.build("lenet5")((1, 28, 28), 10)


def _reference(model, data, *, lr_of_epoch, epochs, batch_size, momentum, decay, seed):
    """Momentum SGD spelled out: v ← μ v + (g + λ w), w ← w − η v."""
    draws = generator(seed, "x")
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    losses = []
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=draws)
        for start in range(0, len(data), batch_size):
            batch = order[start : start + batch_size]
            loss = cross_entropy(model(data.images[batch]), data.labels[batch])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            losses.append(loss.item())
            with torch.no_grad():
                for p, g, v in zip(model.parameters(), grads, velocity, strict=True):
                    v.mul_(momentum).add_(g + decay * p)
                    p.sub_(lr_of_epoch(epoch) * v)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("batch_size", [4, 5, 64])
def test_it_is_momentum_sgd_over_shuffled_epochs(batch_size):
    ours, theirs, data = _model(), _model(), _data(18)
    plan = Plan(lr=0.2, epochs=3, batch_size=batch_size, momentum=0.9, weight_decay=0.01)
    loss = train_local(ours, data, plan, generator(5, "x"))
    expected = _reference(
        theirs,
        data,
        lr_of_epoch=lambda _: 0.2,
        epochs=3,
        batch_size=batch_size,
        momentum=0.9,
        decay=0.01,
        seed=5,
    )
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_milestones_are_shares_of_the_epochs():
    ours, theirs, data = _model(), _model(), _data(8)
    plan = Plan(lr=0.1, epochs=10, batch_size=4, milestones=(0.2, 0.8), factor=0.1)
    train_local(ours, data, plan, generator(5, "x"))

    def lr_of_epoch(epoch: int) -> float:
        return 0.1 if epoch < 2 else 0.01 if epoch < 8 else 0.001

    _reference(
        theirs, data, lr_of_epoch=lr_of_epoch, epochs=10, batch_size=4, momentum=0, decay=0, seed=5
    )
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_milestones_of_steps_are_counted_in_steps():
    rates = [Plan(lr=1.0, steps=4, epochs=None, milestones=(0.5,)).lr_at(k / 4) for k in range(4)]
    assert rates == [1.0, 1.0, 0.1, 0.1]


def test_steps_reshuffle_when_an_epoch_ends():
    data, seen = _data(5), []

    def note(images, labels):
        seen.append(len(labels))
        return images, labels

    train_local(
        _model(),
        data,
        Plan(lr=0.1, epochs=None, steps=7, batch_size=2),
        generator(1, "x"),
        poison=note,
    )
    assert seen == [2, 2, 1, 2, 2, 1, 2]


def test_every_image_is_seen_once_an_epoch_and_the_poison_replaces_the_batch():
    data, seen = _data(10), []

    def note(images, labels):
        seen.extend(labels.tolist())
        return torch.zeros_like(images), torch.zeros_like(labels)

    ours, zeros = _model(), _model()
    train_local(ours, data, Plan(lr=0.1, epochs=1, batch_size=4), generator(2, "x"), poison=note)
    assert sorted(seen) == sorted(data.labels.tolist())
    blank = Split(torch.zeros_like(data.images), torch.zeros_like(data.labels))
    train_local(zeros, blank, Plan(lr=0.1, epochs=1, batch_size=4), generator(2, "x"))
    for mine, other in zip(ours.parameters(), zeros.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_constraints_see_the_update_after_every_step_and_their_answer_is_kept():
    data, steps = _data(8), []

    def halt(update, step, is_last):
        steps.append((step, is_last))
        return torch.zeros_like(update)

    model = _model()
    before = [p.clone() for p in model.parameters()]
    train_local(
        model,
        data,
        Plan(lr=0.5, epochs=2, batch_size=4),
        generator(1, "x"),
        restraint=Restraint(on_update=[halt]),
    )
    assert steps == [(1, False), (2, False), (3, False), (4, True)]
    for now, then in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(now, then)


def test_the_global_generator_is_not_touched():
    before = torch.random.get_rng_state()
    train_local(_model(), _data(6), Plan(lr=0.1), generator(1, "x"))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_the_steps_are_torchs_own_bit_for_bit(momentum, decay):
    ours, theirs = (_lenet5() for _ in range(2))
    optimizer = torch.optim.SGD(theirs.parameters(), lr=1, momentum=momentum, weight_decay=decay)
    sgd = SGD(ours, momentum, decay)
    for seed, lr in enumerate((0.1, 0.1, 0.01)):
        images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(seed))
        for model in (ours, theirs):
            model.zero_grad()
            model(images).square().sum().backward()
        sgd.step(lr)
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_parameter_without_a_gradient_stays():
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(2, 1))
    model[0](torch.ones(1, 2)).sum().backward()
    before = model[1].weight.clone()
    SGD(model, 0.9, 0.1).step(1.0)
    assert torch.equal(model[1].weight, before)
