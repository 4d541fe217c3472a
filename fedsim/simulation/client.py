"""One client's visit: what it trains on, how, and what it replies."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from fedsim.registry import Choice
from fedsim.scenario.training import Training
from fedsim.seeding import generator, seeded
from fedsim.simulation.federation import Federation
from fedsim.simulation.roles import pool
from fedsim.simulation.training import BatchPoison, Constraint, Plan, train_local
from fedsim.tensors import flatten_buffers, flatten_params, load_buffers, load_params
from fedsim.types import PoisonView, Split


@dataclass(frozen=True)
class Reply:
    """What the server has of a client after a round.

    `update` (d,) is local − global; `buffers` (b,) are the local ones. Where `failed` names a
    reason (raised, timeout, lost, malformed, non_finite, bad_count) the rest is not to be used.
    """

    client: int
    update: Tensor | None
    buffers: Tensor | None
    num_examples: int
    loss: float
    seconds: float = 0.0
    failed: str | None = None


@dataclass(frozen=True)
class Visit:
    """What the server tells a client: the round, and whether the adversary attacks through it."""

    client: int
    round: int
    acting: bool


def visit(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor, order: Visit
) -> Reply:
    """Train client `order.client` from the global model and return its update.

    `model` is only a workplace: parameters and buffers are loaded into it first, so that nothing
    of an earlier client remains.
    """
    load_params(model, params)
    load_buffers(model, buffers)
    data = federation.data.train.take(federation.clients[order.client])
    with seeded(federation.scenario.seed, "layers", order.round, order.client):
        data, loss = _train(federation, model, data, order)
    return Reply(
        client=order.client,
        update=flatten_params(model) - params,
        buffers=flatten_buffers(model),
        num_examples=len(data),
        loss=loss,
    )


def _train(
    federation: Federation, model: nn.Module, data: Split, order: Visit
) -> tuple[Split, float]:
    """The set that was trained on, and the loss. Dropout and the like draw from torch's own."""
    shuffle = generator(federation.scenario.seed, "train", order.round, order.client)
    if order.acting:
        data, batch_poison = poisoned_data(federation, order, data)
        plan, constraints = malicious_plan(federation, order.round)
        loss = train_local(model, data, plan, shuffle, poison=batch_poison, constraints=constraints)
    else:
        loss = train_local(model, data, honest_plan(federation, order.round), shuffle)
    return data, loss


def honest_plan(federation: Federation, round_: int) -> Plan:
    """The training of `clients.training` in `round_`."""
    return _plan(federation.scenario.clients.training, round_)


def malicious_plan(federation: Federation, round_: int) -> tuple[Plan, list[Constraint]]:
    """The training of `adversary.training` in `round_`, and what holds it back."""
    adversary = federation.scenario.adversary
    if adversary is None or adversary.training is None:
        return honest_plan(federation, round_), []
    training = adversary.training.merged(federation.scenario.clients.training)
    milestones, factor = tuple(training.lr_milestones), training.lr_factor
    plan = replace(_plan(training, round_), milestones=milestones, factor=factor)
    return plan, [constraint.build() for constraint in training.constraints]


def _plan(training: Training, round_: int) -> Plan:
    """The training of a scenario in `round_`: its rate decays with every round."""
    return Plan(
        lr=training.lr * training.lr_decay ** (round_ - 1),
        epochs=training.epochs,
        steps=training.steps,
        batch_size=training.batch_size,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
    )


def poisoned_data(
    federation: Federation, order: Visit, data: Split
) -> tuple[Split, BatchPoison | None]:
    """An acting client's set as its poison leaves it, and what is to be done to each batch."""
    adversary = federation.scenario.adversary
    if adversary is None or adversary.poison is None:
        return data, None
    seed, poison = federation.scenario.seed, adversary.poison
    attacker = pool(federation.scenario, order.round).index(order.client)
    if poison_time(poison) == "batch":
        view = _view(federation, generator(seed, "poison", order.round, order.client), attacker)
        return data, partial(_apply, poison.build(), view)
    view = _view(federation, generator(seed, "poison", order.client), attacker)
    return Split(*poison.build()(data.images, data.labels, view)), None


def poison_time(poison: Choice) -> str:
    """When a poison runs (`once` or `batch`), which may depend on its parameters.

    A user's function that does not declare it runs once, on the client's whole set.
    """
    when = poison.plugin.facts.get("when", "once")
    return str(when(poison.parameters) if callable(when) else when)


def _view(federation: Federation, draws: torch.Generator, attacker: int) -> PoisonView:
    return PoisonView(federation.data.num_classes, draws, attacker, federation.chosen)


def _apply(
    poison: Callable[..., tuple[Tensor, Tensor]], view: PoisonView, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    return poison(images, labels, view)
