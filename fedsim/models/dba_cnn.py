"""The MNIST network of the distributed backdoor attack."""

from collections import OrderedDict

from torch import nn

from fedsim.models import models


@models.register
def dba_cnn(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Two 5 × 5 convolutions of 20 and 50 maps, a layer of 500 units, then the logits.

    A ReLU and a 2 × 2 max pooling follow each convolution.

    Paper: Xie et al., "DBA: Distributed Backdoor Attacks against Federated Learning", ICLR 2020.
    Differs: logits where theirs ends in a log-softmax; under cross-entropy the two train alike.
    Raises: ValueError for images below 16 × 16, of which the convolutions leave nothing.

    >>> sum(p.numel() for p in dba_cnn((1, 28, 28), 10).parameters())
    431080
    """
    c, h, w = shape
    if c < 1 or min(h, w) < 16:
        raise ValueError(
            f"dba_cnn needs at least 1 channel and 16 × 16 pixels; got {c} × {h} × {w}"
        )
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(c, 20, 5),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(20, 50, 5),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(50 * _pooled(h) * _pooled(w), 500),
            relu3=nn.ReLU(),
            fc2=nn.Linear(500, num_classes),
        )
    )


def _pooled(side: int) -> int:
    return ((side - 4) // 2 - 4) // 2
