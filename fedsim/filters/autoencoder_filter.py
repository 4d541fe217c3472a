"""Autoencoder filter: the model sees what a narrow network can make of clean images."""

from collections import OrderedDict
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fedsim.filters import filters
from fedsim.filters._calibration import clean_images
from fedsim.seeding import seeded
from fedsim.strict import Positive
from fedsim.suspects import Filter, Filtered, Suspect

BATCH = 32
LR = 3e-3


@filters.declare(data=True)
def autoencoder_filter(
    suspect: Suspect, *, hidden: Positive = 128, code: Positive = 32, epochs: Positive = 200
) -> Filter:
    """Images as an autoencoder of the clean ones gives them back; none is rejected.

    x' = decode(encode(x)), d → `hidden` → `code` → `hidden` → d, ReLU inside and a sigmoid at the
    end; min ‖x' − x‖² over the clean images, by Adam.

    Paper: Liu Y., Xie, Srivastava, "Neural Trojans", ICCD 2017, arXiv:1710.00942 (input
    preprocessing).
    Differs: widths, optimiser and number of epochs are ours; the paper's triggers are whole
    pictures from elsewhere, not stamps on clean ones.

    Args:
        hidden: units of the layers before and after the code.
        code: numbers that an image has to pass through.
        epochs: over the clean images, in batches of 32.

    Raises:
        ValueError: there are no clean images.
    """
    images = clean_images("autoencoder_filter", suspect)
    network = fitted(images, hidden, code, epochs, suspect.generator)

    def clean(images: Float[Tensor, "b c h w"]) -> Filtered:
        with torch.no_grad():
            again = network(images).view_as(images)
        return Filtered(again, torch.zeros_like(images[:, 0, 0, 0]) > 0)

    return clean


def fitted(
    images: Float[Tensor, "b c h w"],
    hidden: int,
    code: int,
    epochs: int,
    generator: torch.Generator,
) -> nn.Module:
    """An autoencoder of `images` that returns them flat, (b, d) in [0, 1]."""
    network = _network(prod(images.shape[1:]), hidden, code, generator).to(images.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LR)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=generator).to(images.device)
        for rows in order.split(BATCH):
            loss = mse_loss(network(images[rows]), images[rows].flatten(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.requires_grad_(False)


def _network(size: int, hidden: int, code: int, generator: torch.Generator) -> nn.Module:
    number = int(torch.randint(2**31, (1,), generator=generator))
    with seeded(number, "autoencoder_filter"):
        return nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                encode1=nn.Linear(size, hidden),
                relu1=nn.ReLU(),
                encode2=nn.Linear(hidden, code),
                relu2=nn.ReLU(),
                decode1=nn.Linear(code, hidden),
                relu3=nn.ReLU(),
                decode2=nn.Linear(hidden, size),
                pixels=nn.Sigmoid(),
            )
        )
