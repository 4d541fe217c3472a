"""A chain of neurons through the last linear layers: what it sees, what would wake it alone."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

_RIDGE = 1e-3  # share of the mean variance that is added to each feature's


class Head(NamedTuple):
    """The last linear layers, with a ReLU between any two, and what goes into each."""

    layers: list[nn.Linear]
    inputs: list[Float[Tensor, "b f"]]

    def of(self, rows: slice) -> "Head":
        """What goes in of some of the images."""
        return Head(self.layers, [values[rows] for values in self.inputs])


@torch.no_grad()
def head(model: nn.Module, images: Tensor) -> Head:
    """As many of the last layers as there are; ValueError if there are not two."""
    given: dict[nn.Linear, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda layer, inputs: given.update({layer: inputs[0]}))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    called = list(given)
    layers = called[-1:]
    for layer in reversed(called[:-1]):
        if layer.bias is None or not torch.equal(given[layers[0]], layer(given[layer]).relu()):
            break
        layers.insert(0, layer)
    if len(layers) < 2:
        raise ValueError(
            "potrojan: the network must end in two linear layers with biases and a ReLU between"
        )
    return Head(layers, [given[layer] for layer in layers])


def idlest(head: Head) -> list[int]:
    """Of each hidden layer the unit of least mean activation times length of outgoing weights."""
    pairs = zip(head.inputs[1:], head.layers[1:], strict=True)
    return [int((values.mean(0) * layer.weight.norm(dim=0)).argmin()) for values, layer in pairs]


@torch.no_grad()
def silence(head: Head, units: list[int]) -> None:
    """Set all weights into and out of the units, and their biases, to 0."""
    for layer, after, unit in zip(head.layers, head.layers[1:], units, strict=False):
        layer.weight[unit] = layer.bias[unit] = 0
        after.weight[:, unit] = 0


def detector(
    clean: Float[Tensor, "b f"], marked: Float[Tensor, "b f"], tail: float = 0.0
) -> tuple[Float[Tensor, " f"], Float[Tensor, ""]]:
    """Weights and bias of a unit that is ≤ 0 on `clean` and ≥ 1 on `marked`, if it can.

    A share `tail` of either is left out of account.
    """
    low, high = clean.double(), marked.double()
    spread = torch.cat([low - low.mean(0), high - high.mean(0)])
    scatter = spread.T @ spread / len(spread)
    ridge = _RIDGE * scatter.diagonal().mean() + 1e-12
    eye = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    weight = torch.linalg.solve(scatter + ridge * eye, high.mean(0) - low.mean(0))
    scores = high @ weight
    top, bottom = (low @ weight).quantile(1 - tail), scores.quantile(tail)
    threshold = top + (bottom - top).clamp(min=0) / 2
    reached = torch.where(bottom > threshold, bottom, scores.mean())
    if reached <= threshold:
        raise ValueError("potrojan: the trigger cannot be told from clean images")
    scale = 1 / (reached - threshold)
    return (scale * weight).to(clean), (-scale * threshold).to(clean)


def coordinates(model: nn.Module, head: Head, units: list[int]) -> Bool[Tensor, " d"]:
    """The coordinates that `silence` sets to 0."""
    marks = {id(parameter): torch.zeros_like(parameter) for parameter in model.parameters()}
    for layer, after, unit in zip(head.layers, head.layers[1:], units, strict=False):
        marks[id(layer.weight)][unit] = marks[id(layer.bias)][unit] = 1
        marks[id(after.weight)][:, unit] = 1
    return torch.cat([marks[id(parameter)].flatten() for parameter in model.parameters()]) > 0


def smallest_network() -> nn.Module:
    """For examples: a pixel, a hidden unit, two logits; all of its six parameters are 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    for parameter in model.requires_grad_(False).parameters():
        parameter.zero_()
    return model.eval()
