"""The Trojaning attack's trigger: pixels that excite chosen units of the network."""

from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedsim.strict import Pair, Positive
from fedsim.triggers import triggers
from fedsim.triggers._square import batches, first_pattern, stamp
from fedsim.types import Network, TriggerView

Rate = Annotated[float, Field(gt=0)]


def _learn(
    view: TriggerView,
    *,
    size: int,
    position: tuple[int, int],
    neurons: int,
    value: float,
    steps: int,
    lr: float,
    batch_size: int,
) -> Float[Tensor, "c h w"]:
    """The pattern after `steps` steps down the chosen units' distance from `value`."""
    pattern = first_pattern("trojan", view, size, position)
    network, chosen = view.network, None
    drawn = batches(view.images, view.labels, view.generator, count=steps, size=batch_size)
    for images, _ in drawn:
        pattern.requires_grad_()
        features = network.features(
            network.params, stamp("trojan", images, pattern, size, position)
        )
        chosen = _strongest(network, features, neurons) if chosen is None else chosen
        cost = (value - features[:, chosen]).square().sum(dim=1).mean()
        (slope,) = torch.autograd.grad(cost, pattern)
        slope = slope.nan_to_num(0, 0, 0)  # of a model that an attack has ruined
        mean = slope.abs().sum() / (len(slope) * size**2)
        step = lr * slope / torch.where(mean > 0, mean, 1)
        pattern = (pattern.detach() - step).clamp(0, 1)
    return pattern


def _check(view: TriggerView, *, neurons: int, **_: object) -> None:
    network = view.network
    _strongest(network, network.features(network.params, view.images[:1]), neurons)


def _strongest(network: Network, features: Float[Tensor, "b f"], neurons: int) -> Int[Tensor, " k"]:
    """Which features have the largest sums of absolute incoming weights, excited ones first."""
    count = features.shape[1]
    if neurons > count:
        raise ValueError(f"trojan: neurons must be at most the {count} features; got {neurons}")
    sums = _incoming(network, count).abs().sum(dim=1)
    sums = sums.where((features != 0).any(dim=0), -1)  # no slope leads out of a dead ReLU
    return sums.sort(descending=True, stable=True).indices[:neurons]  # ties: lowest unit


def _incoming(network: Network, count: int) -> Float[Tensor, "f i"]:
    """The weights into each of the `count` features, a row each.

    They are the last ones before the last layer's that are followed by `count` biases or scales
    of a norm, or by the last layer itself.
    """
    last = network.layers.last_weight
    for (name, where), (_, after) in reversed(list(pairwise(network.layers.items()))):
        entries, following = where.stop - where.start, after.stop - after.start
        fits = entries > count and entries % count == 0 and (following == count or after == last)
        if name.endswith("weight") and where != last and fits:
            return network.params[where].reshape(count, -1)
    raise ValueError(f"trojan: needs a layer before the last one that gives its {count} inputs")


@triggers.learned(_learn, check=_check)
def trojan(  # noqa: PLR0913 (a mask, units and a budget)
    images: Float[Tensor, "b c h w"],
    pattern: Float[Tensor, "c h w"] | None = None,
    *,
    size: Positive = 3,
    position: Pair = (0, 0),
    neurons: Positive = 2,
    value: float = 100.0,
    steps: Positive = 200,
    lr: Rate = 0.02,
    batch_size: Positive = 64,
) -> Float[Tensor, "b c h w"]:
    """The images with a square that drives chosen units of the global model to a high value.

    δ ← clip(δ − lr · g / mean |g|) in [0, 1], g = ∇_δ Σ_k (value − f_k(x ⊕ δ))² over the square, f
    what enters the last layer, k the `neurons` units with the largest Σ_j |W_kj|, W the weights
    into f. δ is 0.5 before anything is learned and goes on from the last round. `steps` passes over
    `batch_size` images a round.

    Paper: Liu et al., "Trojaning Attack on Neural Networks", NDSS 2018.
    Differs: a square where the paper takes a logo's shape; x are the adversary's images, the mean
    over them counts, where the paper, which has none, starts from a blank; steps of one mean size,
    as in the released code, for a plain gradient; no smoothing. The released code chooses units by
    their outgoing weights; here those that no image of the first batch excites come last, as no
    slope reaches them. The inverted training images and the retraining are what the clients' own
    images and the poison do here.

    Args:
        size: side of the square in pixels.
        position: columns and rows from the upper left corner: x and y.
        neurons: how many units, at most as many as enter the last layer.
        value: what they are driven to, in units of the features.
        steps: steps on a batch each, a round.
        lr: mean change of a pixel in a step, as the pixels in [0, 1].

    Raises:
        ValueError: the square leaves the image; the network has no layer of units before its last,
            or fewer units than `neurons`.

    >>> trojan(torch.zeros(1, 1, 8, 8), size=2).sum()
    tensor(2.)
    """
    return stamp("trojan", images, pattern, size, position)
