"""What inspections ask of a suspect: its clean images in batches, its logits, random numbers."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.suspects import Suspect


def clean_images(name: str, suspect: Suspect) -> Float[Tensor, "b c h w"]:
    """The server's clean images; ValueError in the name of the inspection if there are none."""
    if suspect.images is None or not len(suspect.images):
        raise ValueError(f"{name} needs clean images of the server's; got none")
    return suspect.images


def answers(name: str, suspect: Suspect, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k"]:
    """The model's logits of `images`; ValueError in the inspection's name if any is not finite."""
    logits: Tensor = suspect.model(images)
    if not logits.isfinite().all():
        raise ValueError(f"{name}: the model gave logits that are not finite")
    return logits


def batches(images: Tensor, count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """`count` batches of `size` images in ever new orders; all of them, where there are no more."""
    order = torch.empty(0, dtype=torch.long)
    for _ in range(count):
        if len(images) <= size:
            yield images
            continue
        if len(order) < size:
            order = torch.randperm(len(images), generator=generator, device=generator.device)
        yield images[order[:size].to(images.device)]
        order = order[size:]


def uniform(suspect: Suspect, *shape: int) -> Tensor:
    """Uniform random numbers in [0, 1) from the suspect's generator, on the model's device."""
    drawn = torch.rand(shape, generator=suspect.generator, device=suspect.generator.device)
    return drawn.to(device_of(suspect))


def device_of(suspect: Suspect) -> torch.device:
    """Where the model's parameters are; the generator's device for a model without any."""
    return next((p.device for p in suspect.model.parameters()), suspect.generator.device)
