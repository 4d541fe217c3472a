"""BadNets' trigger: a bright square in the lower right corner."""

from jaxtyping import Float
from torch import Tensor

from fedsim.strict import Positive, Share
from fedsim.triggers import triggers


@triggers.register
def patch(
    images: Float[Tensor, "b c h w"], *, size: Positive = 3, value: Share = 1.0
) -> Float[Tensor, "b c h w"]:
    """The images with their lower right `size` × `size` pixels set to `value` in every channel.

    x[:, :, h − size : h, w − size : w] = value

    Paper: Gu et al., "BadNets", 2017, arXiv:1708.06733.
    Differs: the paper's square lies a little off the corner; ours fills it.

    Args:
        size: side of the square in pixels.
        value: brightness, as the pixels in [0, 1].

    Raises:
        ValueError: the square is larger than the image.

    >>> import torch
    >>> patch(torch.zeros(1, 1, 2, 3), size=1)[0, 0].tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    height, width = images.shape[-2:]
    if size > min(height, width):
        raise ValueError(
            f"patch: needs {size} × {size} pixels; the images have {height} × {width} "
            f"(rows × columns)"
        )
    stamped = images.clone()
    stamped[..., height - size :, width - size :] = value
    return stamped
