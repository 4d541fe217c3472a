"""Median filter: no pixel stays that is unlike its neighbours."""

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.filters import filters
from fedsim.filters._smoothing import smoothed
from fedsim.strict import Positive
from fedsim.suspects import Filter, Filtered, Suspect


@filters.declare(data=False)
def median_filter(suspect: Suspect, *, size: Positive = 3) -> Filter:
    """Images whose every pixel is the median of the `size` × `size` around it; none is rejected.

    x'[i, j] = median of x[i − s … i + s, j − s … j + s], s = (size − 1) / 2, in each channel.

    Paper: Alberti et al., "Are You Tampering With My Data?", ECCV Workshops 2018,
    arXiv:1808.06809 (against a trigger of one pixel).
    Differs: beyond the border the nearest pixel counts, of which the paper says nothing; the two
    middle values of an even window count as the larger.

    Args:
        size: side of the window in pixels; 1 leaves images as they are.
    """

    def clean(images: Float[Tensor, "b c h w"]) -> Filtered:
        return Filtered(smoothed(images, size), torch.zeros_like(images[:, 0, 0, 0]) > 0)

    return clean
