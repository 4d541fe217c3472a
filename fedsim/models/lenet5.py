"""LeNet-5 as it is trained today."""

from collections import OrderedDict

from torch import nn

from fedsim.models import models

_SIDE = 32


@models.register
def lenet5(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Two 5 × 5 convolutions of 6 and 16 maps, layers of 120 and 84 units, then the logits.

    A side below 32 pixels is padded with zeros to 32, so 28 × 28 enters as 32 × 32.

    Paper: LeCun et al., Proceedings of the IEEE 1998, "Gradient-based learning applied to document
        recognition".
    Differs: ReLU for the scaled tanh, max pooling for trained subsampling, every map of the second
        convolution sees all six of the first, a linear output for radial basis functions.
    Raises: ValueError for images below 28 × 28, which would be mostly padding.

    >>> sum(p.numel() for p in lenet5((1, 28, 28), 10).parameters())
    61706
    """
    c, h, w = shape
    if c < 1 or min(h, w) < 28:
        raise ValueError(f"lenet5 needs at least 1 channel and 28 × 28 pixels; got {c} × {h} × {w}")
    pad_h, pad_w = max(_SIDE - h, 0), max(_SIDE - w, 0)
    margins = (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2)
    features = 16 * _pooled(h + pad_h) * _pooled(w + pad_w)
    return nn.Sequential(
        OrderedDict(
            pad=nn.ZeroPad2d(margins),
            conv1=nn.Conv2d(c, 6, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(features, 120),
            relu3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            relu4=nn.ReLU(),
            fc3=nn.Linear(84, num_classes),
        )
    )


def _pooled(side: int) -> int:
    return ((side - 4) // 2 - 4) // 2
