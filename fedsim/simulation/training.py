"""Local SGD: what every client does between receiving the model and sending its update."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedsim.tensors import flatten_params, load_params
from fedsim.types import ConstraintView, Split

BatchPoison = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images, labels) of one batch → what is trained on instead."""


@dataclass(frozen=True)
class Restraint:
    """What holds a malicious client's training back, each list in the order given.

    `on_gradient` (gradient (d,), view) → gradient is applied before every step, `on_update`
    (update (d,), step, is_last) → update after it, `on_start` update → update before the first.
    Steps that any of `is_clean` picks take a batch of `clean` instead of the poisoned data.
    """

    on_gradient: Sequence[Callable[[Tensor, ConstraintView], Tensor]] = ()
    on_update: Sequence[Callable[[Tensor, int, bool], Tensor]] = ()
    on_start: Sequence[Callable[[Tensor], Tensor]] = ()
    is_clean: Sequence[Callable[[int], bool]] = ()
    clean: Split | None = None
    previous_update: Tensor | None = None


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train. Exactly one of `epochs` and `steps` is set.

    `milestones` are shares of the epochs (of the steps, where those are set) after which the rate
    is multiplied by `factor`.
    """

    lr: float
    epochs: int | None = 1
    steps: int | None = None
    batch_size: int = 64
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[float, ...] = ()
    factor: float = 0.1

    def num_steps(self, num_examples: int) -> int:
        """How many optimizer steps a client with `num_examples` images takes."""
        if self.steps is not None:
            return self.steps
        return (self.epochs or 0) * -(-num_examples // self.batch_size)

    def lr_at(self, progress: float) -> float:
        """The rate after the share `progress` of the epochs, in [0, 1)."""
        return self.lr * self.factor ** sum(progress >= share - 1e-9 for share in self.milestones)


class SGD:
    """The steps of torch.optim.SGD, bit for bit.

    Making that one imports 900 modules, which costs every process a second.
    """

    def __init__(self, model: nn.Module, momentum: float, weight_decay: float) -> None:
        self.model, self.momentum, self.weight_decay = model, momentum, weight_decay
        self._velocity: dict[Tensor, Tensor] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """V ← momentum v + gradient + weight_decay w; w ← w − lr v. Unused parameters stay."""
        weights: list[Tensor] = [w for w in self.model.parameters() if w.grad is not None]
        steps = [w.grad for w in weights if w.grad is not None]
        if not weights:
            return
        if self.weight_decay:
            steps = list(torch._foreach_add(steps, weights, alpha=self.weight_decay))
        if self.momentum:
            steps = [self._moved(w, step) for w, step in zip(weights, steps, strict=True)]
        torch._foreach_add_(weights, steps, alpha=-lr)

    def _moved(self, weight: Tensor, step: Tensor) -> Tensor:
        if weight not in self._velocity:
            self._velocity[weight] = step.clone()
            return step
        return self._velocity[weight].mul_(self.momentum).add_(step)


def train_local(
    model: nn.Module,
    data: Split,
    plan: Plan,
    generator: torch.Generator,
    *,
    poison: BatchPoison | None = None,
    restraint: Restraint | None = None,
) -> float:
    """Train `model` in place by SGD on the shuffled `data` and return the mean batch loss.

    Args:
        model: starts from the global parameters; momentum starts at zero on every visit.
        data: images as float in [0, 1].
        plan: epochs or steps, batch size, rates.
        generator: a CPU generator; it decides the order of the images and nothing else.
        poison: replaces each batch before it is trained on.
        restraint: what holds the training back.
    """
    model.train()
    optimizer = SGD(model, plan.momentum, plan.weight_decay)
    start = flatten_params(model) if restraint else None
    if restraint and restraint.on_start and start is not None:
        load_params(model, start_from(start, restraint))
    num_steps, total = plan.num_steps(len(data)), torch.zeros((), device=data.labels.device)
    for step, (progress, batch) in enumerate(batches(len(data), plan, generator), start=1):
        images, labels = batch_of(data, batch, step, poison, restraint)
        loss = cross_entropy(model(images), labels)
        model.zero_grad()
        loss.backward()
        is_last = step == num_steps
        if restraint and start is not None:
            _hold_gradient(model, start, restraint, step, is_last)
        optimizer.step(plan.lr_at(progress))
        total += loss.detach()
        if restraint and start is not None:
            _hold_update(model, start, restraint, step, is_last)
    return float(total) / num_steps


def batches(count: int, plan: Plan, generator: torch.Generator) -> Iterator[tuple[float, Tensor]]:
    """(share of the epochs behind us, or of the steps where they are given; indices) per step."""
    num_steps, done = plan.num_steps(count), 0
    per_epoch = -(-count // plan.batch_size)
    while done < num_steps:
        for batch in torch.randperm(count, generator=generator).split(plan.batch_size):
            if done == num_steps:
                return
            whole = done if plan.steps is not None else done - done % per_epoch
            yield whole / num_steps, batch
            done += 1


def batch_of(
    data: Split,
    batch: Tensor,
    step: int,
    poison: BatchPoison | None,
    restraint: Restraint | None,
) -> tuple[Tensor, Tensor]:
    """What the step trains on; a clean batch has the places that the poisoned one would have."""
    batch = batch.to(data.labels.device)
    if restraint and restraint.clean and is_clean(restraint, step):
        batch = batch % len(restraint.clean)
        return restraint.clean.images[batch], restraint.clean.labels[batch]
    images, labels = data.images[batch], data.labels[batch]
    return (images, labels) if poison is None else poison(images, labels)


def is_clean(restraint: Restraint | None, step: int) -> bool:
    """Whether the step takes a batch of clean data."""
    return restraint is not None and any(picks(step) for picks in restraint.is_clean)


def held_gradient(
    gradient: Tensor, update: Tensor, start: Tensor, restraint: Restraint, at: tuple[int, bool]
) -> Tensor:
    """The gradient (d,) as the constraints leave it; `at` is the step, and whether the last."""
    step, is_last = at
    view = ConstraintView(update, start, step, is_last, restraint.previous_update)
    for constraint in restraint.on_gradient:
        gradient = constraint(gradient, view)
    return gradient


def start_from(params: Tensor, restraint: Restraint) -> Tensor:
    """Where the training begins: the global parameters (d,) as the constraints leave them."""
    update = torch.zeros_like(params)
    for constraint in restraint.on_start:
        update = constraint(update)
    return params + update


def held_update(update: Tensor, restraint: Restraint, at: tuple[int, bool]) -> Tensor:
    """The update (d,) as the constraints leave it."""
    for constraint in restraint.on_update:
        update = constraint(update, *at)
    return update


def _hold_gradient(
    model: nn.Module, start: Tensor, restraint: Restraint, step: int, is_last: bool
) -> None:
    if not restraint.on_gradient:
        return
    parameters = list(model.parameters())
    gradient = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
    update = flatten_params(model) - start
    gradient = held_gradient(gradient, update, start, restraint, (step, is_last))
    parts = gradient.split([p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter).clone()


def _hold_update(
    model: nn.Module, start: Tensor, restraint: Restraint, step: int, is_last: bool
) -> None:
    if restraint.on_update:
        update = held_update(flatten_params(model) - start, restraint, (step, is_last))
        load_params(model, start + update)
