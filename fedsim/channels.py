"""The hidden units that a backdoor may live in: where they are, how active, and switched off."""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.modules import activation as activations

from fedsim.tensors import layers_of

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
_BATCH = 500


class Site(NamedTuple):
    """The units of one hidden layer: channels of a convolution, outputs of a linear layer.

    `module` is the one whose parameters have a row for each unit and which comes last before
    `activation`: the layer itself, or a normalisation that follows it.
    """

    module: str
    num_units: int
    activation: Callable[[Tensor], Tensor]


def last_units(model: nn.Module) -> Site:
    """The last convolution's channels or, where there is none, the last hidden linear layer's.

    The last layer of all gives the logits and is no hidden one, a convolution or not.

    Raises: ValueError where the network has no hidden layer.
    """
    leaves = [(name, module) for name, module in model.named_modules() if not [*module.children()]]
    weighted = (nn.Conv2d, nn.Linear)
    hidden = [k for k, (_, module) in enumerate(leaves) if isinstance(module, weighted)][:-1]
    convolutions = [k for k in hidden if isinstance(leaves[k][1], nn.Conv2d)]
    if not hidden:
        raise ValueError("the network has neither a convolution nor a hidden linear layer")
    at = (convolutions or hidden)[-1]
    units = len(_weight(leaves[at][1]))
    following = leaves[at + 1 :]
    if following and isinstance(following[0][1], NORMS):
        weight = following[0][1].weight
        if weight is not None and weight.numel() == units:
            at, following = at + 1, following[1:]
    function: Callable[[Tensor], Tensor] = torch.relu
    if following and type(following[0][1]).__module__ == activations.__name__:
        function = following[0][1]
    return Site(leaves[at][0], units, function)


@torch.no_grad()
def mean_activation(
    model: nn.Module, site: Site, images: Float[Tensor, "b c h w"]
) -> Float[Tensor, " u"]:
    """Each unit's mean |activation| over the images and, in a convolution, over its map."""
    total = torch.zeros(site.num_units, dtype=torch.float64, device=images.device)

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        active = site.activation(output).abs().double()
        total.add_(active.flatten(2).mean(2).sum(0) if active.dim() > 2 else active.sum(0))

    hook = model.get_submodule(site.module).register_forward_hook(note)
    try:
        for batch in images.split(_BATCH):
            model(batch)
    finally:
        hook.remove()
    return total / len(images)


@torch.no_grad()
def switch_off(model: nn.Module, site: Site, units: Int[Tensor, " k"]) -> None:
    """Set to 0, in place, what makes the `units` what they are: their activation is that of 0."""
    for parameter in model.get_submodule(site.module).parameters():
        parameter[units] = 0


def coordinates(model: nn.Module, site: Site, units: Int[Tensor, " k"]) -> Bool[Tensor, " d"]:
    """Where in the flat vector of parameters `switch_off` writes."""
    return _marked(model, [f"{site.module}.weight", f"{site.module}.bias"], units)


def biases(model: nn.Module, site: Site, units: Int[Tensor, " k"]) -> Bool[Tensor, " d"]:
    """Where in the flat vector of parameters the biases of the `units` are; nowhere without any."""
    return _marked(model, [f"{site.module}.bias"], units)


def _marked(model: nn.Module, names: list[str], units: Tensor) -> Bool[Tensor, " d"]:
    parameters, layers = dict(model.named_parameters()), layers_of(model)
    total = sum(parameter.numel() for parameter in parameters.values())
    marked = torch.zeros(total, dtype=torch.bool, device=units.device)
    for name in names:
        if name in parameters:
            rows = marked[layers[name]].view(parameters[name].shape[0], -1)
            rows[units] = True
    return marked


@torch.no_grad()
def accuracy(
    model: nn.Module, images: Float[Tensor, "b c h w"], labels: Int[Tensor, " b"]
) -> float:
    """The share of the images that the model classifies right, in [0, 1]."""
    pairs = zip(images.split(_BATCH), labels.split(_BATCH), strict=True)
    right = sum(int((model(batch).argmax(1) == truth).sum()) for batch, truth in pairs)
    return right / len(labels)


def spare_units(
    model: nn.Module,
    site: Site,
    order: Int[Tensor, " u"],
    held: tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]],
    fall: float,
) -> Int[Tensor, " k"]:
    """The longest start of `order` that can be switched off before the accuracy on `held` falls.

    Goes on by 1 % of the units (at least one) until the accuracy is below 1 − `fall` of what it
    was; the last unit always stays.
    """
    trial = copy.deepcopy(model)
    floor = (1 - fall) * accuracy(trial, *held) - 1e-9
    step, spared = math.ceil(site.num_units / 100), 0
    for end in range(step, site.num_units, step):
        switch_off(trial, site, order[spared:end])
        if accuracy(trial, *held) < floor:
            break
        spared = end
    return order[:spared]


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
