"""Shadow models for a meta-classifier: many small networks, half of them with a backdoor each."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy

Stack = Mapping[str, Tensor]
"""The states of n networks at once: each parameter and buffer with n in front of its shape."""

SIZES = (2, 3, 4, 5)
"""Sides of the jumbo distribution's squares, in pixels."""


class Trojans(NamedTuple):
    """What each of n shadow models is poisoned with; a `share` of 0 leaves it benign.

    An image x becomes (1 − mask) · x + mask · pattern, its label `target`; `share` is that of such
    images in the training data.
    """

    mask: Float[Tensor, "n 1 h w"]
    pattern: Float[Tensor, "n c h w"]
    target: Int[Tensor, " n"]
    share: Float[Tensor, " n"]


class Lessons(NamedTuple):
    """How shadow models are trained: on these images, by SGD, each at a rate of its own.

    Rates are drawn log-uniformly from `lr`, since nothing is known of how a suspect was trained.
    `together` models are trained at once.
    """

    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    epochs: int
    batch_size: int = 32
    lr: tuple[float, float] = (0.02, 0.2)
    momentum: float = 0.9
    together: int = 64


@dataclass(frozen=True)
class Shadows:
    """Trained networks, in turn a benign one and one with a backdoor; `trojaned` (n,) is 0 or 1."""

    model: nn.Module
    states: Stack
    trojaned: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.trojaned)

    def take(self, rows: Int[Tensor, " m"] | slice) -> "Shadows":
        """The chosen networks."""
        states = {name: value[rows] for name, value in self.states.items()}
        return Shadows(self.model, states, self.trojaned[rows])

    def finite(self) -> "Shadows":
        """The networks all of whose parameters and buffers are finite."""
        flat = [value.reshape(len(self), -1) for value in self.states.values()]
        whole = torch.stack([value.isfinite().all(dim=1) for value in flat]).all(dim=0)
        return self.take(whole.nonzero()[:, 0])

    def answers(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "n b k"]:
        """The logits of every network on the same images."""
        out: Tensor = vmap(_logits(self.model), (0, None))(self.states, images)
        return out


def cast_shadows(
    fresh: Callable[[torch.Generator], nn.Module],
    trojans: Trojans,
    lessons: Lessons,
    generator: torch.Generator,
) -> Shadows:
    """One benign network and one with its backdoor for each of the n `trojans`: 2n in turn."""
    pairs = Trojans(*(column.repeat_interleave(2, dim=0) for column in trojans))
    trojaned = torch.arange(len(pairs.share)) % 2
    pairs = pairs._replace(share=pairs.share * trojaned)
    parts = []
    for chunk in zip(*(column.split(lessons.together) for column in pairs), strict=True):
        group = Trojans(*chunk)
        models = [fresh(generator).to(lessons.images.device).train() for _ in group.share]
        parts.append(_train(models, group, lessons, generator))
    states = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return Shadows(models[0].eval(), states, trojaned.to(lessons.images))


def jumbo(
    count: int, shape: tuple[int, int, int], num_classes: int, generator: torch.Generator
) -> Trojans:
    """`count` backdoors drawn from the jumbo distribution.

    A fifth cover the image with opacity U(0.05, 0.2); the others are squares of 2 to 5 pixels
    anywhere, of opacity U(0.2, 0.6), 1 where that is over 0.5. Pattern: U(−e, 1 + e) cut to [0, 1],
    e ~ U(0, 1). To the training data U(0.05, 0.5) times their number of stamped images are added.
    """

    def uniform(low: float, high: float) -> Float[Tensor, " n"]:
        return low + (high - low) * torch.rand(count, generator=generator)

    c, h, w = shape
    kind = torch.randint(len(SIZES) + 1, (count,), generator=generator)
    sizes = torch.tensor([*SIZES, max(h, w)])[kind]
    rows, columns = (_interval(side, sizes, uniform(0.0, 1.0)) for side in (h, w))
    square, faint = uniform(0.2, 0.6), uniform(0.05, 0.2)
    square = torch.where(square > 0.5, 1, square)
    opacity = torch.where(kind == len(SIZES), faint, square)
    noise = torch.rand(count, c, h, w, generator=generator)
    extra = uniform(0.0, 1.0).view(-1, 1, 1, 1)
    added = uniform(0.05, 0.5)
    return Trojans(
        mask=opacity.view(-1, 1, 1, 1) * (rows[:, :, None] & columns[:, None, :])[:, None],
        pattern=((1 + 2 * extra) * noise - extra).clamp(0, 1),
        target=torch.randint(num_classes, (count,), generator=generator),
        share=added / (1 + added),
    )


def _interval(side: int, sizes: Tensor, where: Tensor) -> Tensor:
    """Which of `side` lines (n, side) lie in an interval of each size, at `where` in [0, 1)."""
    sizes = sizes.clamp(max=side)
    start = (where * (side - sizes + 1)).long()[:, None]
    line = torch.arange(side)
    return (line >= start) & (line < start + sizes[:, None])


def _train(
    models: list[nn.Module], trojans: Trojans, lessons: Lessons, generator: torch.Generator
) -> dict[str, Float[Tensor, "n ..."]]:
    """The states after training all at once: the rate of a model is the weight of its loss."""
    params, buffers = stack_module_state(models)
    states = {**params, **buffers}
    forward = vmap(_logits(models[0]), randomness="different")
    low, high = (math.log(rate) for rate in lessons.lr)
    rates = (low + (high - low) * torch.rand(len(models), generator=generator)).exp()
    rates = rates.to(lessons.images)
    optimizer = torch.optim.SGD(params.values(), lr=1.0, momentum=lessons.momentum)
    for images, labels in _batches(trojans, lessons, generator):
        logits = forward(states, images)
        losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        optimizer.zero_grad()
        (rates * losses.view(labels.shape).mean(1)).sum().backward()
        optimizer.step()
    return {name: value.detach() for name, value in states.items()}


def _batches(
    trojans: Trojans, lessons: Lessons, generator: torch.Generator
) -> Iterator[tuple[Float[Tensor, "n b c h w"], Int[Tensor, "n b"]]]:
    """Every model's own batches: images drawn at random, of which its share is stamped."""
    n, b, total = len(trojans.share), lessons.batch_size, len(lessons.images)
    mask, pattern = (part[:, None].to(lessons.images) for part in (trojans.mask, trojans.pattern))
    target = trojans.target[:, None].to(lessons.labels)
    for _ in range(math.ceil(lessons.epochs * total / b)):
        chosen = torch.randint(total, (n, b), generator=generator).to(target.device)
        bad = torch.rand(n, b, generator=generator) < trojans.share[:, None]
        bad = bad.to(target.device)
        images = lessons.images[chosen]
        here = bad[:, :, None, None, None] * mask
        yield (1 - here) * images + here * pattern, torch.where(bad, target, lessons.labels[chosen])


def _logits(model: nn.Module) -> Callable[[Stack, Tensor], Tensor]:
    def logits(state: Stack, images: Tensor) -> Tensor:
        out: Tensor = functional_call(model, dict(state), (images,))
        return out

    return logits
