"""A multilayer perceptron on the flattened image."""

from collections import OrderedDict
from itertools import pairwise
from math import prod
from typing import Literal

from torch import nn

from fedsim.models import models
from fedsim.strict import Sizes

_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


@models.register
def mlp(
    shape: tuple[int, int, int],
    num_classes: int,
    *,
    hidden: Sizes = (64,),
    activation: Literal["relu", "tanh"] = "relu",
) -> nn.Module:
    """A stack of fully connected layers of the sizes `hidden`, then one that returns the logits.

    h_k = activation(W_k h_{k−1} + b_k), h_0 the flattened image; `hidden: []` is softmax
    regression. `hidden: [200, 200]` is the 2NN of the paper, two hidden tanh layers the MNIST
    network of Shen et al. (AUROR), ACSAC 2016.

    Paper: McMahan et al., AISTATS 2017, arXiv:1602.05629.
    Raises: ValueError if the shape is empty.

    >>> sum(p.numel() for p in mlp((1, 28, 28), 10, hidden=[200, 200]).parameters())
    199210
    """
    if min(shape) < 1:
        raise ValueError(f"mlp needs at least 1 channel and 1 × 1 pixels; got {_times(shape)}")
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    sizes = [prod(shape), *hidden]
    for k, (width, next_width) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{k}"] = nn.Linear(width, next_width)
        layers[f"{activation}{k}"] = _ACTIVATIONS[activation]()
    layers[f"fc{len(sizes)}"] = nn.Linear(sizes[-1], num_classes)
    return nn.Sequential(layers)


def _times(shape: tuple[int, int, int]) -> str:
    return " × ".join(map(str, shape))
