"""A finished model under suspicion: what may be seen of it, and what is said of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from fedsim.types import State


class Recovered(NamedTuple):
    """A trigger as an inspection found it: (1 − mask) · image + mask · pattern, all in [0, 1]."""

    mask: Float[Tensor, "1 h w"]
    pattern: Float[Tensor, "c h w"]

    def stamp(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images with the trigger on them."""
        return (1 - self.mask) * images + self.mask * self.pattern


@dataclass(frozen=True)
class Verdict:
    """What an inspection says: `backdoored` is `score > threshold`.

    `target` is the suspected class (None where none is), `trigger` what was recovered of it.
    `details` are the numbers behind the score, each (k,) by class or a single one.
    """

    score: float
    threshold: float
    target: int | None = None
    trigger: Recovered | None = None
    details: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def backdoored(self) -> bool:
        """Whether the score is over the threshold."""
        return self.score > self.threshold


@dataclass(frozen=True)
class Suspect:
    """All that a check after training may see: the finished model and the server's clean data.

    `model` gives logits (b, k) of images (b, c, h, w) in [0, 1]; it is in evaluation mode, its
    parameters need no gradient, and it is never written into: a repair works on a copy.
    `images`, `labels` are the server's root data, None without any. `fresh` builds a newly
    initialised network of the same architecture from a generator. `verdict` is the last
    inspection's, None before one. `cache` is a folder for what is expensive, None for no cache.
    """

    model: nn.Module
    shape: tuple[int, int, int]
    num_classes: int
    fresh: Callable[[torch.Generator], nn.Module]
    generator: torch.Generator
    images: Float[Tensor, "b c h w"] | None = None
    labels: Int[Tensor, " b"] | None = None
    verdict: Verdict | None = None
    cache: Path | None = None


class Filtered(NamedTuple):
    """Inputs behind a filter: what the model is to see, and which (b,) it is not to see at all."""

    images: Float[Tensor, "b c h w"]
    rejected: Bool[Tensor, " b"]


Filter = Callable[[Tensor], Filtered]
"""What a filter is once it has been fitted to the server's clean data."""


@dataclass(frozen=True)
class Watch:
    """All that a monitor may see after a round: the new model, the server's clean data, its memory.

    `predict` gives logits (b, k) of images (b, c, h, w).
    """

    round: int
    predict: Callable[[Tensor], Tensor]
    images: Float[Tensor, "b c h w"]
    labels: Int[Tensor, " b"]
    num_classes: int
    state: State = field(default_factory=dict)
