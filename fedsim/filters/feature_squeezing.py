"""Feature squeezing: an image whose prediction hangs on details is not to be trusted."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.filters import filters
from fedsim.filters._calibration import Rate, clean_images, limit
from fedsim.filters._smoothing import smoothed
from fedsim.strict import Positive
from fedsim.suspects import Filter, Filtered, Suspect


@filters.declare(data=True)
def feature_squeezing(
    suspect: Suspect,
    *,
    bits: Annotated[int, Field(ge=1, le=8)] = 1,
    window: Positive = 2,
    false_positive_rate: Rate = 0.05,
) -> Filter:
    """The images, those rejected that the model sees otherwise once they are squeezed.

    d(x) = max over squeezers s of ‖softmax f(x) − softmax f(s(x))‖₁, in [0, 2], rejected where it
    is over that of a share 1 − `false_positive_rate` of the clean images. Squeezers: pixels in
    2^`bits` steps, round(x · (2^bits − 1)) / (2^bits − 1), and the median of a window.

    Paper: Xu W., Evans, Qi, "Feature Squeezing", NDSS 2018, arXiv:1704.01155 (made against
    adversarial examples; their joint detector for MNIST: 1 bit, a window of 2 × 2).
    Differs: without the non-local means that the paper adds for colour images; beyond the border
    the nearest pixel counts.

    Args:
        bits: depth of a pixel in each channel.
        window: side of the median's window in pixels; 1 leaves it out.
        false_positive_rate: share of the clean images that may be rejected.

    Raises:
        ValueError: there are no clean images.
    """

    def distances(images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        squeezed = (reduced(images, bits), smoothed(images, window))
        with torch.no_grad():
            plain, *others = (suspect.model(x).softmax(dim=1) for x in (images, *squeezed))
        return torch.stack([(plain - other).abs().sum(dim=1) for other in others]).amax(dim=0)

    largest = limit(distances(clean_images("feature_squeezing", suspect)), false_positive_rate)

    def screen(images: Float[Tensor, "b c h w"]) -> Filtered:
        return Filtered(images, distances(images) > largest)

    return screen


def reduced(images: Float[Tensor, "b c h w"], bits: int) -> Float[Tensor, "b c h w"]:
    """The images in 2^bits shades per channel, 0 and 1 among them.

    >>> reduced(torch.tensor([0.0, 0.2, 0.4, 0.9]).view(1, 1, 1, 4), 1).flatten().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    steps = 2.0**bits - 1
    return (images * steps).round() / steps
