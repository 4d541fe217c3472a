"""A neuron in the last hidden layer: where it stands, what it sees, what would wake it alone."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

_RIDGE = 1e-3  # share of the mean variance that is added to each feature's


class Seen(NamedTuple):
    """What goes into the last hidden layer, comes out of it, and the logits."""

    inputs: Float[Tensor, "b f"]
    units: Float[Tensor, "b u"]
    logits: Float[Tensor, "b k"]


def last_layers(model: nn.Module) -> tuple[nn.Linear, nn.Linear]:
    """The last two linear layers."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(linear) < 2 or any(layer.bias is None for layer in linear[-2:]):
        raise ValueError("potrojan: the network must end in two linear layers with biases")
    return linear[-2], linear[-1]


@torch.no_grad()
def seen(model: nn.Module, hidden: nn.Linear, out: nn.Linear, images: Tensor) -> Seen:
    """ValueError unless `out` is given relu(hidden(inputs))."""
    given: dict[nn.Module, Tensor] = {}
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: given.update({layer: inputs[0]}))
        for layer in (hidden, out)
    ]
    try:
        logits = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not torch.equal(given[out], hidden(given[hidden]).relu()):
        raise ValueError("potrojan: only a ReLU may stand between the last two linear layers")
    return Seen(given[hidden], given[out], logits)


def detector(clean: Tensor, marked: Tensor) -> tuple[Float[Tensor, " f"], Float[Tensor, ""]]:
    """Weights and bias of a unit that is ≤ 0 on all of `clean` and ≥ 1 on `marked`, if it can."""
    low, high = clean.double(), marked.double()
    spread = torch.cat([low - low.mean(0), high - high.mean(0)])
    scatter = spread.T @ spread / len(spread)
    ridge = _RIDGE * scatter.diagonal().mean() + 1e-12
    eye = torch.eye(len(scatter), dtype=scatter.dtype, device=scatter.device)
    weight = torch.linalg.solve(scatter + ridge * eye, high.mean(0) - low.mean(0))
    top, scores = (low @ weight).max(), high @ weight
    threshold = top + (scores.min() - top).clamp(min=0) / 2
    reached = torch.where(scores.min() > threshold, scores.min(), scores.mean())
    if reached <= threshold:
        raise ValueError("potrojan: the trigger cannot be told from clean images")
    scale = 1 / (reached - threshold)
    return (scale * weight).to(clean), (-scale * threshold).to(clean)


def unit_coordinates(
    model: nn.Module, hidden: nn.Linear, out: nn.Linear, unit: int
) -> Bool[Tensor, " d"]:
    """The coordinates of the unit: its row of the hidden layer, its column of the output."""
    marks = {id(parameter): torch.zeros_like(parameter) for parameter in model.parameters()}
    marks[id(hidden.weight)][unit] = 1
    marks[id(hidden.bias)][unit] = 1
    marks[id(out.weight)][:, unit] = 1
    return torch.cat([marks[id(parameter)].flatten() for parameter in model.parameters()]) > 0


def smallest_network() -> nn.Module:
    """For examples: a pixel, a hidden unit, two logits; all of its six parameters are 0."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 2))
    for parameter in model.requires_grad_(False).parameters():
        parameter.zero_()
    return model.eval()
