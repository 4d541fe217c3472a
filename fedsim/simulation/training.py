"""Local SGD: what every client does between receiving the model and sending its update."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedsim.tensors import flatten_params, load_params
from fedsim.types import Split

BatchPoison = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(images, labels) of one batch → what is trained on instead."""

Constraint = Callable[[Tensor, int, bool], Tensor]
"""(update (d,), step, is_last) → the update to go on from."""


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


def train_local(
    model: nn.Module,
    data: Split,
    plan: Plan,
    generator: torch.Generator,
    *,
    poison: BatchPoison | None = None,
    constraints: Sequence[Constraint] = (),
) -> float:
    """Train `model` in place by SGD on the shuffled `data` and return the mean batch loss.

    Args:
        model: starts from the global parameters; momentum starts at zero on every visit.
        data: images as float in [0, 1].
        plan: epochs or steps, batch size, rates.
        generator: a CPU generator; it decides the order of the images and nothing else.
        poison: replaces each batch before it is trained on.
        constraints: applied in order to the update after every step.
    """
    model.train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay
    )
    start = flatten_params(model) if constraints else None
    num_steps, total = plan.num_steps(len(data)), torch.zeros((), device=data.labels.device)
    for step, (progress, batch) in enumerate(_batches(len(data), plan, generator), start=1):
        batch = batch.to(data.labels.device)
        images, labels = data.images[batch], data.labels[batch]
        if poison is not None:
            images, labels = poison(images, labels)
        if plan.milestones:
            optimizer.param_groups[0]["lr"] = plan.lr_at(progress)
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
        if start is not None:
            _constrain(model, start, constraints, step, step == num_steps)
    return float(total) / num_steps


def _batches(count: int, plan: Plan, generator: torch.Generator) -> Iterator[tuple[float, Tensor]]:
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


def _constrain(
    model: nn.Module, start: Tensor, constraints: Sequence[Constraint], step: int, is_last: bool
) -> None:
    update = flatten_params(model) - start
    for constraint in constraints:
        update = constraint(update, step, is_last)
    load_params(model, start + update)
