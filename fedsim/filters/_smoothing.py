"""The median of a window around every pixel."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad


def smoothed(images: Float[Tensor, "b c h w"], size: int) -> Float[Tensor, "b c h w"]:
    """The images with each pixel the median of `size` × `size` around it, channel by channel.

    Beyond the border the nearest pixel counts. An even window reaches one further up and left, and
    of its two middle values the larger is taken.
    """
    before, after = size // 2, (size - 1) // 2
    wide = pad(images, (before, after, before, after), mode="replicate")
    windows = wide.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    return torch.kthvalue(windows, size**2 // 2 + 1, dim=4).values
