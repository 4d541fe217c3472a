"""A classifier of networks: what they answer to learned queries, and what that says of them."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from fedsim.inspections._shadows import Shadows

HIDDEN = 20
LEAST = -10.0
"""A log-probability below this counts as this."""


class Plan(NamedTuple):
    """How many classifiers are trained side by side, on how many queries each, and how long."""

    classifiers: int = 4
    queries: int = 10
    steps: int = 200
    batch_size: int = 32
    lr: float = 0.01


def shapes(plan: Plan, shape: tuple[int, int, int], num_classes: int) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters of `plan.classifiers` classifiers, by name."""
    e, k = plan.classifiers, plan.queries
    return {
        "queries": (e, k, *shape),
        "weight1": (e, k * num_classes, HIDDEN),
        "bias1": (e, 1, HIDDEN),
        "weight2": (e, HIDDEN, 1),
        "bias2": (e, 1, 1),
    }


def train(
    shadows: Shadows,
    plan: Plan,
    sizes: Mapping[str, tuple[int, ...]],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """The parameters that tell the `shadows` apart best: queries and classifiers learned jointly.

    Adam on the binary cross-entropy of batches of shadow models; a query is the sigmoid of what is
    learned, so that it stays an image in [0, 1].
    """
    found = {name: _start(name, size, generator) for name, size in sizes.items()}
    found = {name: value.to(shadows.trojaned).requires_grad_() for name, value in found.items()}
    optimizer = torch.optim.Adam(found.values(), lr=plan.lr)
    for _ in range(plan.steps):
        batch = shadows.take(torch.randperm(len(shadows), generator=generator)[: plan.batch_size])
        logits = _each(found, batch.answers(as_images(found)))
        truth = batch.trojaned.expand_as(logits)
        optimizer.zero_grad()
        (binary_cross_entropy_with_logits(logits, truth) * plan.classifiers).backward()
        optimizer.step()
    return {name: value.detach() for name, value in found.items()}


def score(found: Mapping[str, Tensor], answers: Float[Tensor, "n q k"]) -> Float[Tensor, " n"]:
    """The mean logit of the classifiers for networks with these logits on all queries."""
    return _each(found, answers).mean(dim=0)


def as_images(found: Mapping[str, Tensor]) -> Float[Tensor, "q c h w"]:
    """The queries of all classifiers, in [0, 1]."""
    return found["queries"].sigmoid().flatten(0, 1)


def _each(found: Mapping[str, Tensor], answers: Tensor) -> Float[Tensor, "e n"]:
    n, e = len(answers), len(found["queries"])
    seen = answers.log_softmax(dim=-1).clamp(min=LEAST) * (-2 / LEAST) + 1
    seen = seen.reshape(n, e, -1).transpose(0, 1)
    hidden = torch.relu(seen @ found["weight1"] + found["bias1"])
    logits: Tensor = hidden @ found["weight2"] + found["bias2"]
    return logits[:, :, 0]


def _start(name: str, size: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Queries of N(0, 1); weights within ± 1 / √inputs; biases of 0."""
    if name == "queries":
        return torch.randn(size, generator=generator)
    if name.startswith("bias"):
        return torch.zeros(size)
    return (2 * torch.rand(size, generator=generator) - 1) / math.sqrt(size[1])
