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
from fedsim.simulation.network import build_poison, network_of
from fedsim.simulation.restraints import restraint_of
from fedsim.simulation.roles import pool
from fedsim.simulation.training import BatchPoison, Plan, Restraint, train_local
from fedsim.tensors import flatten_buffers, flatten_params, load_buffers, load_params
from fedsim.types import Network, PoisonView, Split


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
    """What a client is told: the round, and by the adversary whether it attacks, and with what."""

    client: int
    round: int
    acting: bool
    pattern: Tensor | None = None
    """The current pattern of a learned trigger, for acting clients."""
    previous_update: Tensor | None = None
    """How the last round moved the parameters, for acting clients whose constraints use it."""


def visit(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor, order: Visit
) -> Reply:
    """Train client `order.client` from the global model and return its update.

    `model` is only a workplace: parameters and buffers are loaded into it first, so that nothing
    of an earlier client remains.
    """
    with seeded(federation.scenario.seed, "layers", order.round, order.client):
        # Dropout and the like draw from torch's own generator.
        lesson = make_lesson(federation, model, params, buffers, order)
        loss = train_local(
            model,
            lesson.data,
            lesson.plan,
            lesson.shuffle,
            poison=lesson.poison,
            restraint=lesson.restraint,
        )
    return Reply(
        client=order.client,
        update=flatten_params(model) - params,
        buffers=flatten_buffers(model),
        num_examples=len(lesson.data),
        loss=loss,
    )


@dataclass(frozen=True)
class Lesson:
    """All that decides a client's training beside the model: what `train_local` takes."""

    data: Split
    plan: Plan
    shuffle: torch.Generator
    poison: BatchPoison | None = None
    restraint: Restraint | None = None


def make_lesson(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor, order: Visit
) -> Lesson:
    """What client `order.client` is to train on, and how; `model` then holds the global one."""
    clean = federation.data.train.take(federation.clients[order.client])
    shuffle = generator(federation.scenario.seed, "train", order.round, order.client)
    load_params(model, params)
    load_buffers(model, buffers)
    if not order.acting:
        return Lesson(clean, honest_plan(federation, order.round), shuffle)
    data, poison = poisoned_data(
        federation, order, clean, lambda: network_of(model, params, buffers)
    )
    load_params(model, params)
    load_buffers(model, buffers)
    plan, chosen = malicious_plan(federation, order.round)
    restraint = restraint_of(chosen, clean, order.previous_update, model)
    return Lesson(data, plan, shuffle, poison, restraint)


def honest_plan(federation: Federation, round_: int) -> Plan:
    """The training of `clients.training` in `round_`."""
    return _plan(federation.scenario.clients.training, round_)


def malicious_plan(federation: Federation, round_: int) -> tuple[Plan, list[Choice]]:
    """The training of `adversary.training` in `round_`, and its constraints."""
    adversary = federation.scenario.adversary
    if adversary is None or adversary.training is None:
        return honest_plan(federation, round_), []
    training = adversary.training.merged(federation.scenario.clients.training)
    milestones, factor = tuple(training.lr_milestones), training.lr_factor
    plan = replace(_plan(training, round_), milestones=milestones, factor=factor)
    return plan, list(training.constraints)


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
    federation: Federation,
    order: Visit,
    data: Split,
    network: Callable[[], Network] | None = None,
) -> tuple[Split, BatchPoison | None]:
    """An acting client's set as its poison leaves it, and what is to be done to each batch.

    `network` makes the current global model for a poison that runs once a round.
    """
    adversary = federation.scenario.adversary
    if adversary is None or adversary.poison is None:
        return data, None
    seed, poison = federation.scenario.seed, adversary.poison
    attacker = pool(federation.scenario, order.round).index(order.client)
    apply, when = build_poison(poison, order.pattern), poison_time(poison)
    keys = (order.client,) if when == "once" else (order.round, order.client)
    view = PoisonView(
        federation.data.num_classes,
        generator(seed, "poison", *keys),
        attacker,
        federation.chosen,
        network=network() if network and when == "round" else None,
        round=order.round,
    )
    if when == "batch":
        return data, partial(_apply, apply, view)
    return Split(*apply(data.images, data.labels, view)), None


def poison_time(poison: Choice) -> str:
    """When a poison runs (`once`, `round` or `batch`), which may depend on its parameters.

    A user's function that does not declare it runs once, on the client's whole set.
    """
    when = poison.plugin.facts.get("when", "once")
    return str(when(poison.parameters) if callable(when) else when)


def _apply(
    poison: Callable[..., tuple[Tensor, Tensor]], view: PoisonView, images: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    return poison(images, labels, view)
