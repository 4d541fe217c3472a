"""The vectorised trainer: many clients' local SGD at once, on stacked parameters."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.utils.rnn import pad_sequence

from fedsim.simulation.client import Lesson
from fedsim.simulation.stacked import stacked_logits
from fedsim.simulation.training import (
    batch_of,
    batches,
    held_gradient,
    held_update,
    is_clean,
    start_from,
)
from fedsim.types import Split

IGNORED = -100
"""The label of what only fills up a batch: `cross_entropy` gives it no loss."""

Turn = tuple[float, Tensor]
"""The share of the training that lies behind a client, and the images of its batch."""


def train_together(
    model: nn.Module, params: Float[Tensor, " d"], lessons: Sequence[Lesson]
) -> tuple[Float[Tensor, "m d"], Float[Tensor, " m"]]:
    """The parameters of all clients after their training from `params`, and mean batch losses.

    What `train_local` makes of each lesson, but for the order in which sums are taken. Clients
    with fewer steps than others drop out when they are done.
    """
    order = sorted(range(len(lessons)), key=lambda k: -_num_steps(lessons[k]))
    group = [lessons[k] for k in order]
    back = torch.tensor(order).argsort().to(params.device)
    rows, losses = _train(model, params, group)
    return rows[back], losses[back]


def _train(
    model: nn.Module, params: Tensor, group: Sequence[Lesson]
) -> tuple[Float[Tensor, "m d"], Float[Tensor, " m"]]:
    """As `train_together`, of lessons with falling numbers of steps."""
    model.train()
    num_steps, sgd = [_num_steps(lesson) for lesson in group], _sgd(group, params)
    pool, todo = _pool(group), [batches(len(le.data), le.plan, le.shuffle) for le in group]
    rows = torch.stack([_start(params, lesson) for lesson in group])
    total = params.new_zeros(len(group))
    for step in range(1, num_steps[0] + 1):
        active = sum(count >= step for count in num_steps)
        turns, at = _turns(todo[:active]), [(step, step == count) for count in num_steps[:active]]
        images, labels = _batch(group, turns, step, pool)
        losses, gradient = _gradient(model, rows[:active], images, labels)
        total[:active] += losses
        held = [(k, le.restraint) for k, le in enumerate(group[:active]) if le.restraint]
        for k, restraint in held:
            if restraint.on_gradient:
                update = rows[k] - params
                gradient[k] = held_gradient(gradient[k], update, params, restraint, at[k])
        _step(sgd, rows[:active], gradient, _rates(group, turns, params))
        for k, restraint in held:
            if restraint.on_update:
                rows[k] = params + held_update(rows[k] - params, restraint, at[k])
    return rows, total / torch.tensor(num_steps).to(total)


def _start(params: Tensor, lesson: Lesson) -> Float[Tensor, " d"]:
    return start_from(params, lesson.restraint) if lesson.restraint else params


def _gradient(
    model: nn.Module, rows: Tensor, images: Tensor, labels: Tensor
) -> tuple[Float[Tensor, " m"], Float[Tensor, "m d"]]:
    """Each client's mean loss over its batch, and its slope.

    A client's loss depends on its own row alone, so the slope of the sum is that of each.
    """
    rows = rows.detach().requires_grad_()
    logits = stacked_logits(model, rows, images)
    each = cross_entropy(
        logits.flatten(0, 1), labels.flatten(), reduction="none", ignore_index=IGNORED
    )
    losses = each.view(labels.shape).sum(1) / (labels != IGNORED).sum(1)
    (gradient,) = torch.autograd.grad(losses.sum(), rows)
    return losses.detach(), gradient


class _Sgd(NamedTuple):
    """Momentum and weight decay (m, 1), None where all are 0; the velocity (m, d) goes along."""

    momentum: Tensor | None
    decay: Tensor | None
    velocity: Tensor | None


def _sgd(group: Sequence[Lesson], params: Tensor) -> _Sgd:
    momenta = [lesson.plan.momentum for lesson in group]
    decays = [lesson.plan.weight_decay for lesson in group]
    return _Sgd(
        momentum=_column(momenta, params) if any(momenta) else None,
        decay=_column(decays, params) if any(decays) else None,
        velocity=params.new_zeros(len(group), len(params)) if any(momenta) else None,
    )


def _step(sgd: _Sgd, rows: Tensor, gradient: Tensor, rates: Tensor) -> None:
    """Momentum SGD, in place: v ← μ v + (g + λ w), w ← w − η v."""
    active = len(rows)
    if sgd.decay is not None:
        gradient = gradient.addcmul_(rows, sgd.decay[:active])
    if sgd.momentum is not None and sgd.velocity is not None:
        gradient = sgd.velocity[:active].mul_(sgd.momentum[:active]).add_(gradient)
    rows.addcmul_(gradient, rates, value=-1)


def _rates(group: Sequence[Lesson], turns: Sequence[Turn], like: Tensor) -> Float[Tensor, "m 1"]:
    pairs = zip(group, turns, strict=False)
    return _column([lesson.plan.lr_at(progress) for lesson, (progress, _) in pairs], like)


def _column(values: Sequence[float], like: Tensor) -> Float[Tensor, "m 1"]:
    return torch.tensor(values, dtype=like.dtype)[:, None].to(like.device, non_blocking=True)


def _num_steps(lesson: Lesson) -> int:
    return lesson.plan.num_steps(len(lesson.data))


class _Pool(NamedTuple):
    """The images of all clients in one tensor, and where each client's begin."""

    images: Float[Tensor, "n c h w"]
    labels: Int[Tensor, " n"]
    starts: Int[Tensor, " m"]


def _pool(group: Sequence[Lesson]) -> _Pool:
    sizes = torch.tensor([len(lesson.data) for lesson in group])
    return _Pool(
        torch.cat([lesson.data.images for lesson in group]),
        torch.cat([lesson.data.labels for lesson in group]),
        sizes.cumsum(0) - sizes,
    )


def _turns(todo: Sequence[Iterator[Turn]]) -> list[Turn]:
    return [next(turns) for turns in todo]


def _batch(
    group: Sequence[Lesson], turns: Sequence[Turn], step: int, pool: _Pool
) -> tuple[Float[Tensor, "m b c h w"], Int[Tensor, "m b"]]:
    """The clients' batches of this step, filled up to the longest with images that are ignored."""
    own = _own_batches(group, turns, step)
    sizes = torch.tensor([len(batch) for _, batch in turns])
    places = pad_sequence([batch for _, batch in turns], batch_first=True)
    width = max([places.shape[1], *(len(batch) for batch in own.values())])
    places = pad(places, (0, width - places.shape[1]))
    filler = torch.arange(width) >= sizes[:, None]
    places = torch.where(filler, places[:, :1], places) + pool.starts[: len(turns), None]
    device = pool.labels.device
    places, filler = (t.to(device, non_blocking=True) for t in (places, filler))
    images, labels = pool.images[places], pool.labels[places].masked_fill(filler, IGNORED)
    for k, batch in own.items():
        images[k, : len(batch)], labels[k] = batch.images, IGNORED
        labels[k, : len(batch)] = batch.labels
    return images, labels


def _own_batches(group: Sequence[Lesson], turns: Sequence[Turn], step: int) -> dict[int, Split]:
    """The batches that are not simply images of the client's set: poisoned ones and clean ones."""
    return {
        k: Split(*batch_of(lesson.data, batch, step, lesson.poison, lesson.restraint))
        for k, (lesson, (_, batch)) in enumerate(zip(group, turns, strict=False))
        if lesson.poison is not None or is_clean(lesson.restraint, step)
    }
