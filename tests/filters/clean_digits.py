"""Digits without any backdoor, split as a server and its users would have them."""

from functools import cache
from pathlib import Path

import torch
from torch import nn

from fedsim.datasets import datasets
from fedsim.suspects import Suspect
from fedsim.types import DataSource, Split

SHAPE = (1, 8, 8)


@cache
def clean_digits() -> tuple[Split, Split]:
    """200 images that the server has, and the test split."""
    data = datasets.build("digits")(DataSource(Path("none")))
    return data.train.take(torch.arange(200)), data.test.take(torch.arange(len(data.test)))


def suspect_of(images, model: nn.Module | None = None, seed: int = 0, labels=None) -> Suspect:
    """A suspect with these clean images; whoever asks for a new network asks for too much."""

    def fresh(generator):
        raise AssertionError("no filter needs a new network")

    return Suspect(
        model or nn.Flatten(),
        SHAPE,
        10,
        fresh,
        torch.Generator().manual_seed(seed),
        images,
        labels,
    )
