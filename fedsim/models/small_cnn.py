"""A small convolutional network for colour images."""

from collections import OrderedDict

from torch import nn

from fedsim.models import models


@models.register
def small_cnn(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Three 3 × 3 convolutions of 32, 64 and 64 maps, a layer of 64 units, then the logits.

    The convolutions keep the size; a ReLU and a 2 × 2 max pooling follow each of them.

    Paper: Folklore.
    Raises: ValueError for images below 8 × 8, of which the poolings leave nothing.

    >>> sum(p.numel() for p in small_cnn((3, 32, 32), 10).parameters())
    122570
    """
    c, h, w = shape
    if c < 1 or min(h, w) < 8:
        raise ValueError(
            f"small_cnn needs at least 1 channel and 8 × 8 pixels; got {c} × {h} × {w}"
        )
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(c, 32, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv3=nn.Conv2d(64, 64, 3, padding=1),
            relu3=nn.ReLU(),
            pool3=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(64 * (h // 8) * (w // 8), 64),
            relu4=nn.ReLU(),
            fc2=nn.Linear(64, num_classes),
        )
    )
