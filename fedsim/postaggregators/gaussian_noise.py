"""Gaussian noise on the aggregate, alone or after clipping (weak differential privacy)."""

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.postaggregators import postaggregators
from fedsim.types import ServerView


@postaggregators.register
def gaussian_noise(
    update: Float[Tensor, " d"],
    view: ServerView,
    *,
    std: Annotated[float, Field(ge=0)],
    on: Literal["mean", "sum"] = "mean",
) -> Float[Tensor, " d"]:
    """The update plus independent Gaussian noise in every coordinate.

    u + s ε with ε ~ N(0, I); s = std (`mean`), or std / n as if the noise had been added to the
    sum of the n rows before it was divided by n (`sum`). `std` is in the unit of the updates.

    Paper: Sun et al., 2019, arXiv:1911.07963.

    >>> view = ServerView((0, 1), num_examples=torch.ones(2), params=torch.zeros(2))
    >>> gaussian_noise(torch.tensor([1.0, 2.0]), view, std=0.0)
    tensor([1., 2.])
    """
    noise = torch.randn(update.shape, generator=view.generator, dtype=update.dtype)
    scale = std if on == "mean" else std / len(view.client_ids)
    return update + scale * noise.to(update.device)
