"""A conditional generator of triggers, trained against a model and a discriminator."""

from itertools import pairwise
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, one_hot

from fedsim.inspections._queries import answers, batches, uniform
from fedsim.inspections._sparsity import adapt
from fedsim.suspects import Suspect

Network = list[tuple[Tensor, Tensor]]
"""The weight and the bias of each layer; a ReLU stands between two."""

_NOISE, _HIDDEN, _JUDGE = 16, 128, 64
_FACTOR, _PATIENCE = 1.5, 5  # of the price of a trigger's size


class Plan(NamedTuple):
    """How a generator is trained: by Adam, against the prices of realism and of size."""

    steps: int
    batch_size: int
    lr: float
    gan: float
    size: float
    bound: float
    success: float


@torch.enable_grad()
def smallest_triggers(
    name: str, suspect: Suspect, images: Float[Tensor, "b c h w"], plan: Plan
) -> tuple[Float[Tensor, "k c h w"], Bool[Tensor, " k"]]:
    """The smallest Δ of each class that a generator made while it was trained and that did reach.

    To reach is to send a share `plan.success` of a batch to the class. The price of a class's size
    begins at `plan.size` and follows its success. The second answer says which classes were
    reached; a Δ is 1 everywhere for the others.
    """
    pixels = prod(suspect.shape)
    generator = _network(suspect, (_NOISE + suspect.num_classes, _HIDDEN, pixels))
    judge = _network(suspect, (pixels, _JUDGE, 1))
    optimizers = [
        torch.optim.Adam(_parameters(network), lr=plan.lr) for network in (generator, judge)
    ]
    best = torch.ones(suspect.num_classes, *suspect.shape, device=generator[0][0].device)
    prices = torch.full((suspect.num_classes,), plan.size, device=best.device)
    streaks = torch.zeros_like(prices)
    for batch in batches(images, plan.steps, plan.batch_size, suspect.generator):
        triggers = _generated(generator, suspect)
        stamped = stamp(triggers, batch).flatten(0, 1)
        misses, rates = _misses(name, suspect, stamped, len(batch))
        cost = misses + prices * (sizes(triggers) - plan.bound).clamp(min=0)
        fooled = (_judged(judge, stamped) - 1).square().view(len(cost), -1).mean(dim=1)
        _step(optimizers[0], (cost + plan.gan * fooled).sum())
        seen = _judged(judge, batch), _judged(judge, stamped.detach())
        _step(optimizers[1], (seen[0] - 1).square().mean() + seen[1].square().mean())
        reached = rates >= plan.success
        take = reached & (sizes(triggers) < sizes(best))
        best = triggers.detach().where(take[:, None, None, None], best)
        prices, streaks = adapt(prices, streaks, reached, plan.size, _FACTOR, _PATIENCE)
    return best, sizes(best) < pixels


def sizes(triggers: Float[Tensor, "k c h w"]) -> Float[Tensor, " k"]:
    """‖Δ‖₁ of each."""
    return triggers.abs().sum(dim=(1, 2, 3))


def stamp(
    triggers: Float[Tensor, "k c h w"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "k b c h w"]:
    """Every image under every trigger: moved by a share |Δ| towards 1 where Δ > 0, else towards 0.

    >>> stamp(torch.tensor([0.5, -0.5]).view(2, 1, 1, 1), torch.full((1, 1, 1, 1), 0.2)).flatten()
    tensor([0.6000, 0.1000])
    """
    moves = triggers[:, None]
    return (1 - moves.abs()) * images + moves.clamp(min=0)


def _generated(generator: Network, suspect: Suspect) -> Float[Tensor, "k c h w"]:
    """A trigger for every class, in [−1, 1], from fresh noise."""
    k = suspect.num_classes
    noise = torch.randn(k, _NOISE, generator=suspect.generator, device=suspect.generator.device)
    device = generator[0][0].device
    asked = torch.cat([noise.to(device), one_hot(torch.arange(k, device=device), k)], dim=1)
    return _run(generator, asked).view(k, *suspect.shape).tanh()


def _misses(
    name: str, suspect: Suspect, stamped: Tensor, count: int
) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
    """Of each class's `count` stamped images the mean cross-entropy, and what share goes to it."""
    logits = answers(name, suspect, stamped)
    targets = torch.arange(suspect.num_classes, device=logits.device).repeat_interleave(count)
    losses = cross_entropy(logits, targets, reduction="none").view(-1, count).mean(dim=1)
    return losses, (logits.argmax(dim=1) == targets).float().view(-1, count).mean(dim=1)


def _judged(judge: Network, images: Tensor) -> Float[Tensor, "b 1"]:
    """How far the discriminator believes that no trigger is on the images, in (0, 1)."""
    return _run(judge, images.flatten(1)).sigmoid()


def _network(suspect: Suspect, widths: tuple[int, ...]) -> Network:
    layers = []
    for width, after in pairwise(widths):
        weight = (2 * uniform(suspect, after, width) - 1) / width**0.5
        layers.append((weight.requires_grad_(), torch.zeros_like(weight[:, 0]).requires_grad_()))
    return layers


def _run(network: Network, values: Tensor) -> Tensor:
    *inner, last = network
    for layer in inner:
        values = linear(values, *layer).relu()
    return linear(values, *last)


def _parameters(network: Network) -> list[Tensor]:
    return [tensor for layer in network for tensor in layer]


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    parameters = optimizer.param_groups[0]["params"]
    for tensor, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        tensor.grad = slope
    optimizer.step()
