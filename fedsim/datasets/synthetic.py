"""Synthetic: a made-up task that is learnt in seconds."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import interpolate

from fedsim.datasets import datasets
from fedsim.seeding import generator
from fedsim.strict import Count, Positive
from fedsim.types import Dataset, DataSource, Split


@datasets.register
def synthetic(
    source: DataSource,
    *,
    num_classes: Annotated[int, Field(ge=2)] = 10,
    size: Positive = 8,
    channels: Positive = 1,
    train: Positive = 2000,
    test: Positive = 500,
    noise: Annotated[float, Field(ge=0)] = 0.3,
    seed: Count = 0,
) -> Dataset:
    """`train` and `test` images of one smooth random pattern per class under Gaussian noise.

    x = clamp(pattern_y + noise · N(0, 1), 0, 1), patterns of at most 4 × 4 independent values
    stretched to `size` × `size`; labels run 0, 1, … K − 1, 0, 1, … The data depend on `seed` here
    alone, not on the scenario's seed.

    Paper: Folklore.

    >>> from pathlib import Path
    >>> synthetic(DataSource(Path()), num_classes=3, train=6).train.labels
    tensor([0, 1, 2, 0, 1, 2])
    """
    draw = generator(seed, "synthetic")
    cells = min(size, 4)
    coarse = torch.rand(num_classes, channels, cells, cells, generator=draw)
    patterns = interpolate(coarse, size=(size, size), mode="bilinear")
    halves = [_noisy(patterns, count, noise, draw) for count in (train, test)]
    return Dataset(halves[0], halves[1], num_classes)


def _noisy(patterns: Tensor, count: int, noise: float, draw: torch.Generator) -> Split:
    labels = torch.arange(count) % len(patterns)
    images = patterns[labels]
    images += noise * torch.randn(images.shape, generator=draw)
    return Split(images.clamp_(0, 1), labels)
