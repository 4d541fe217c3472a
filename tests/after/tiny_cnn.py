"""A convolutional network small enough for tests on 8 × 8 images."""

from collections import OrderedDict

from torch import nn

from fedsim.models import models


@models.register
def tiny_cnn(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Two 3 × 3 convolutions of 8 and 24 maps, each with ReLU and pooling, then the logits.

    Paper: Folklore.
    """
    c, h, w = shape
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(c, 8, 3, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(8, 24, 3, padding=1),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(24 * (h // 4) * (w // 4), 48),
            relu3=nn.ReLU(),
            fc2=nn.Linear(48, num_classes),
        )
    )
