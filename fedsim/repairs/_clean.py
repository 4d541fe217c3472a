"""What repairs share: the server's clean data, a copy of the model, and SGD on it."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fedsim.suspects import Suspect

Examples = tuple[Tensor, Tensor]
"""Images (b, c, h, w) in [0, 1] and their labels (b,)."""


def copy_of(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode that shares nothing with `model` and needs no gradient."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def clean_data(name: str, suspect: Suspect) -> Examples:
    """The server's clean images and labels; ValueError where it has fewer than two."""
    if suspect.images is None or suspect.labels is None or len(suspect.labels) < 2:
        got = "none" if suspect.labels is None else len(suspect.labels)
        raise ValueError(
            f"{name}: needs at least 2 clean images of the server's (server.root_data); got {got}"
        )
    return suspect.images, suspect.labels


def halves(data: Examples, share: float, generator: torch.Generator) -> tuple[Examples, Examples]:
    """The data in two random parts, the second with about `share` of them; none is empty."""
    images, labels = data
    order = torch.randperm(len(labels), generator=generator).to(labels.device)
    kept = min(max(len(labels) - int(share * len(labels) + 0.5), 1), len(labels) - 1)
    one, other = order[:kept], order[kept:]
    return (images[one], labels[one]), (images[other], labels[other])


def tune(
    model: nn.Module,
    data: Examples,
    generator: torch.Generator,
    *,
    epochs: int,
    lr: float,
    momentum: float,
    batch_size: int,
    after_step: Callable[[], None] | None = None,
) -> None:
    """Train `model` in place by SGD on the shuffled data, in evaluation mode.

    So the statistics of BatchNorm stay those of the federation, and no unit is dropped out.
    """
    images, labels = data
    weights: list[Tensor] = list(model.parameters())
    velocity = [torch.zeros_like(weight) for weight in weights]
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=generator).split(batch_size):
            rows = batch.to(labels.device)
            with torch.enable_grad():
                model.requires_grad_(True)
                loss = cross_entropy(model(images[rows]), labels[rows])
                slopes = torch.autograd.grad(loss, weights, materialize_grads=True)
            model.requires_grad_(False)
            torch._foreach_mul_(velocity, momentum)
            torch._foreach_add_(velocity, list(slopes))
            torch._foreach_add_(weights, velocity, alpha=-lr)
            if after_step is not None:
                after_step()
