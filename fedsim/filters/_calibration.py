"""What a detector is fitted to and how its threshold is found, both from clean images alone."""

import math
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.suspects import Suspect

Rate = Annotated[float, Field(gt=0, lt=1)]
"""A share in (0, 1)."""

HELD_OUT = 0.25


def clean_images(name: str, suspect: Suspect, least: int = 1) -> Float[Tensor, "b c h w"]:
    """The server's clean images; ValueError if there are fewer than `least`."""
    count = 0 if suspect.images is None else len(suspect.images)
    if suspect.images is None or count < least:
        raise ValueError(f"{name}: needs {least} clean images; got {count}. Set server.root_data.")
    return suspect.images


def fit_and_held_out(name: str, suspect: Suspect) -> tuple[Tensor, Tensor]:
    """The clean images, three quarters to fit a detector and one to find its threshold."""
    images = clean_images(name, suspect, least=8)
    order = torch.randperm(len(images), generator=suspect.generator).to(images.device)
    cut = round(HELD_OUT * len(images))
    return images[order[cut:]], images[order[:cut]]


def pixels(images: Float[Tensor, "b c h w"]) -> Any:
    """The images as rows of an array of float64, as scikit-learn takes them."""
    return images.flatten(1).double().cpu().numpy()


def limit(scores: Float[Tensor, " n"], false_positive_rate: float) -> float:
    """The ⌈n · (1 − rate)⌉-th smallest score: at most that share of these are above it.

    >>> limit(torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0]), 0.2)
    4.0
    """
    kept = math.ceil(len(scores) * (1 - false_positive_rate) - 1e-9)
    return float(scores.sort().values[max(kept, 1) - 1])
