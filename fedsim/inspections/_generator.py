"""A conditional generator of triggers, trained against a model and a discriminator."""

from itertools import pairwise
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, linear, one_hot

from fedsim.inspections._queries import answers, batches, uniform
from fedsim.suspects import Suspect

Network = list[tuple[Tensor, Tensor]]
"""The weight and the bias of each layer; a ReLU stands between two."""

_NOISE, _HIDDEN, _JUDGE = 16, 128, 64


@torch.enable_grad()
def trained_generator(
    name: str,
    suspect: Suspect,
    images: Float[Tensor, "b c h w"],
    steps: int,
    batch_size: int,
    lr: float,
    weights: tuple[float, float, float],
) -> Network:
    """A generator of Δ (c, h, w) from noise and a class; `weights` are gan, size and bound."""
    pixels, (gan, size, bound) = prod(suspect.shape), weights
    generator = _network(suspect, (_NOISE + suspect.num_classes, _HIDDEN, pixels))
    judge = _network(suspect, (pixels, _JUDGE, 1))
    optimizers = [torch.optim.Adam(_parameters(network), lr=lr) for network in (generator, judge)]
    for batch in batches(images, steps, batch_size, suspect.generator):
        triggers = generate(generator, suspect)
        stamped = stamp(triggers, batch).flatten(0, 1)
        sizes = triggers.abs().sum(dim=(1, 2, 3))
        cost = _misses(name, suspect, stamped, len(batch)) + size * (sizes - bound).clamp(min=0)
        fooled = (_judged(judge, stamped) - 1).square().view(len(cost), -1).mean(dim=1)
        _step(optimizers[0], (cost + gan * fooled).sum())
        seen = _judged(judge, batch), _judged(judge, stamped.detach())
        _step(optimizers[1], (seen[0] - 1).square().mean() + seen[1].square().mean())
    return generator


def generate(generator: Network, suspect: Suspect) -> Float[Tensor, "k c h w"]:
    """A trigger for every class, in [−1, 1], from fresh noise."""
    k = suspect.num_classes
    noise = torch.randn(k, _NOISE, generator=suspect.generator, device=suspect.generator.device)
    device = generator[0][0].device
    asked = torch.cat([noise.to(device), one_hot(torch.arange(k, device=device), k)], dim=1)
    return _run(generator, asked).view(k, *suspect.shape).tanh()


def stamp(
    triggers: Float[Tensor, "k c h w"], images: Float[Tensor, "b c h w"]
) -> Float[Tensor, "k b c h w"]:
    """Every image under every trigger: moved by a share |Δ| towards 1 where Δ > 0, else towards 0.

    >>> stamp(torch.tensor([0.5, -0.5]).view(2, 1, 1, 1), torch.full((1, 1, 1, 1), 0.2)).flatten()
    tensor([0.6000, 0.1000])
    """
    moves = triggers[:, None]
    return (1 - moves.abs()) * images + moves.clamp(min=0)


def _misses(name: str, suspect: Suspect, stamped: Tensor, count: int) -> Float[Tensor, " k"]:
    """The mean cross-entropy of each class's `count` stamped images towards it."""
    logits = answers(name, suspect, stamped)
    targets = torch.arange(suspect.num_classes, device=logits.device).repeat_interleave(count)
    return cross_entropy(logits, targets, reduction="none").view(-1, count).mean(dim=1)


def _judged(judge: Network, images: Tensor) -> Float[Tensor, "b 1"]:
    """How far the discriminator believes that no trigger is on the images, in (0, 1)."""
    return _run(judge, images.flatten(1)).sigmoid()


def _network(suspect: Suspect, sizes: tuple[int, ...]) -> Network:
    layers = []
    for width, after in pairwise(sizes):
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
