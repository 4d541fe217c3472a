"""PoTrojan: hidden units that only the trigger wakes, written into the update by hand."""

from collections.abc import Callable
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.attacks import attacks
from fedsim.attacks._neuron import coordinates, detector, head, idlest, silence
from fedsim.registry import OneOf
from fedsim.strict import Count
from fedsim.tensors import flatten_params, load_params
from fedsim.types import AdversaryView

Trigger = Callable[[Tensor], Tensor]


@attacks.needs(model=True)
def potrojan(
    view: AdversaryView,
    *,
    trigger: Annotated[Trigger, OneOf("triggers")],
    target: Count,
    strength: Annotated[float, Field(gt=0)] = 2.0,
    tail: Annotated[float, Field(ge=0, lt=0.5)] = 0.0,
) -> Float[Tensor, "m d"]:
    """The own rows, but that together they write a chain of units from the trigger to `target`.

    The chain has a unit of each hidden layer among the last linear ones. Trigger: the first is
    relu(w · a − θ) of that layer's input a, w the linear discriminant of the own images with and
    without the trigger, θ halfway between the highest w · a without it and the lowest with it, but
    for a share `tail` of either.
    Payload: every other unit repeats the one before, and the last adds `strength` times the largest
    lead of another class, over the images with the trigger and without what the units did before,
    to the logit of `target`, and nothing to the others. The weights of all these layers are equally
    long, which makes the change short. The rows carry it divided by their share of the mean and the
    server's rate, so that a mean over the cohort brings it in whole. A unit that sleeps on clean
    images has no gradient there: nobody's honest training moves it afterwards.

    Paper: Zou et al., "PoTrojan", 2018, arXiv:1802.03043 (single-neuron version).
    Differs: the network cannot grow, so the units take the place of those that matter least, of
    least mean activation times outgoing weight on the own clean images; the payload neuron is the
    output itself; the activation is the network's ReLU where the paper has a pulse; fires on a
    trigger in place of one rare image.

    Args:
        trigger: as in the poison whose success is measured (a `backdoor` of `fraction: 0` trains
            on nothing but clean images).
        target: as there.
        strength: > 1 for the payload to win over every image seen but a `tail`.
        tail: in [0, 0.5); what share of clean images may wake the chain, and of stamped ones fail
            to, where no unit parts them all.

    Raises:
        ValueError: no model or data is given, the network does not end in two linear layers with a
            ReLU between, the class does not exist, or the trigger cannot be told from clean images.

    >>> from fedsim.attacks._neuron import smallest_network
    >>> known = {"model": smallest_network(), "data": (torch.zeros(2, 1, 1, 1), torch.zeros(2))}
    >>> view = AdversaryView(torch.zeros(1, 6), 1, torch.zeros(6), **known)
    >>> potrojan(view, trigger=torch.ones_like, target=1)
    tensor([[ 1.8915, -0.9457,  0.0000,  2.1147,  0.0000,  0.0000]])
    """
    if view.model is None or view.data is None:
        raise ValueError("potrojan: needs the global model and its clients' data; got none")
    model, images = view.model, view.data[0]
    stamped = trigger(images)
    seen = head(model, torch.cat([images, stamped]))
    clean, marked = seen.of(slice(len(images))), seen.of(slice(len(images), None))
    layers, units = seen.layers, idlest(clean)
    if target >= layers[-1].out_features:
        last = layers[-1].out_features - 1
        raise ValueError(f"potrojan: target must be in 0..{last}; got {target}")
    weight, bias = detector(clean.inputs[0], marked.inputs[0], tail)
    before = flatten_params(model)
    silence(seen, units)
    with torch.no_grad():
        logits = model(stamped)
        lead = (logits.max(dim=1).values - logits[:, target]).max().clamp(min=1)
        norm = torch.cat([weight, bias[None]]).norm()
        length = (strength * lead * norm) ** (1 / len(layers))
        first, ends = units[0], [*units[1:], target]
        layers[0].weight[first] = length / norm * weight
        layers[0].bias[first] = length / norm * bias
        for layer, unit, end in zip(layers[1:], units, ends, strict=True):
            layer.weight[end, unit] = length
    change = (flatten_params(model) - before).to(view.own)
    load_params(model, before)
    where = coordinates(model, seen, units)
    shares = view.own.new_full((), len(view.own) / view.num_clients)
    total = (shares if view.shares is None else view.shares.sum()) * view.server_lr
    return torch.where(where, change / total.to(view.own), view.own)
