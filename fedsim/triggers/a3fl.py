"""A3FL: a trigger that also works on a model that was trained to forget it."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from fedsim.strict import Pair, Positive
from fedsim.triggers import triggers
from fedsim.triggers._square import batches, first_pattern, stamp
from fedsim.types import TriggerView

MOMENTUM, DECAY = 0.9, 5e-4  # of the SGD that unlearns, as in the released code

Rate = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


def _learn(  # noqa: PLR0913 (the parameters of the trigger)
    view: TriggerView,
    *,
    size: int,
    position: tuple[int, int],
    steps: int,
    lr: float,
    weight: float,
    refresh: int,
    unlearn_steps: int,
    unlearn_lr: float,
    batch_size: int,
) -> Float[Tensor, "c h w"]:
    """The pattern after `steps` signed steps against the global model and its unlearned copy."""
    target = _target(view)
    pattern = first_pattern("a3fl", view, size, position)
    known, predict = view.network.params, view.network.predict
    drawn = batches(view.images, view.labels, view.generator, count=steps, size=batch_size)
    for step, (images, labels) in enumerate(drawn):
        if step % refresh == 0:  # also before the first step: no budget leaves it out
            worn = stamp("a3fl", view.images, pattern, size, position)
            forgetful = _unlearn(view, worn, unlearn_steps, unlearn_lr, batch_size)
            balance = weight * cosine_similarity(forgetful, known, dim=0)
        pattern.requires_grad_()
        stamped = stamp("a3fl", images, pattern, size, position)
        goal = torch.full_like(labels, target)
        loss = cross_entropy(predict(known, stamped), goal)
        loss = loss + balance * cross_entropy(predict(forgetful, stamped), goal)
        (slope,) = torch.autograd.grad(loss, pattern)
        slope = slope.nan_to_num(0)  # of a model that an attack has ruined
        pattern = (pattern.detach() - lr * slope.sign()).clamp(0, 1)
    return pattern


def _target(view: TriggerView, **_: object) -> int:
    if view.target is None:
        raise ValueError("a3fl: needs a poison with a target class")
    return view.target


def _unlearn(
    view: TriggerView, stamped: Float[Tensor, "b c h w"], steps: int, lr: float, batch_size: int
) -> Float[Tensor, " d"]:
    """The global parameters after SGD on `stamped` images with their true labels."""
    params = view.network.params.clone().requires_grad_()
    optimizer = torch.optim.SGD([params], lr=lr, momentum=MOMENTUM, weight_decay=DECAY)
    drawn = batches(stamped, view.labels, view.generator, count=steps, size=batch_size)
    for images, labels in drawn:
        optimizer.zero_grad()
        cross_entropy(view.network.predict(params, images), labels).backward()
        optimizer.step()
    return params.detach()


@triggers.learned(_learn, check=_target)
def a3fl(  # noqa: PLR0913 (a mask, and a budget)
    images: Float[Tensor, "b c h w"],
    pattern: Float[Tensor, "c h w"] | None = None,
    *,
    size: Positive = 5,
    position: Pair = (2, 2),
    steps: Positive = 50,
    lr: Rate = 0.01,
    weight: Weight = 0.01,
    refresh: Positive = 10,
    unlearn_steps: Positive = 20,
    unlearn_lr: Rate = 0.01,
    batch_size: Positive = 64,
) -> Float[Tensor, "b c h w"]:
    """The images with a square that fools the global model and one trained to forget it.

    δ ← clip(δ − lr · sign ∇_δ [L(x ⊕ δ, target; θ) + λ · L(x ⊕ δ, target; θ′)]) in [0, 1],
    L the cross-entropy, λ = weight · cos(θ′, θ). θ′ is θ after SGD on x ⊕ δ with true labels, made
    anew before the first and every further `refresh`-th step. δ is 0.5 before anything is learned
    and goes on from the last round. At most steps · (2 + unlearn_steps / refresh), rounded up to
    whole copies, passes over `batch_size` images a round.

    Paper: Zhang et al., "A3FL", NeurIPS 2023; code: github.com/hfzhang31/A3FL.
    Differs: the released code makes a copy at every pass but the first over all images, and λ from
    the cosines of the convolutions' last gradients; pixels are clipped to [−2, 2] there. The copy
    is trained in evaluation mode: normalisation keeps the global model's statistics.

    Args:
        size: side of the square in pixels.
        position: columns and rows from the upper left corner: x and y.
        steps: signed steps on a batch each, a round.
        lr: length of a step, as the pixels in [0, 1].
        weight: λ₀ ≥ 0, what the unlearned copy counts beside the global model.

    Raises:
        ValueError: the square leaves the image; the poison has no target class.

    >>> a3fl(torch.zeros(1, 1, 8, 8), size=2).sum()
    tensor(2.)
    """
    return stamp("a3fl", images, pattern, size, position)
