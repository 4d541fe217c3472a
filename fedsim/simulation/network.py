"""The network as a pure function, and poisons and triggers that look into it."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fedsim.registry import Choice
from fedsim.tensors import layers_of, load_buffers, named_params
from fedsim.triggers import bound
from fedsim.types import Network, TriggerView


def network_of(model: nn.Module, params: Tensor, buffers: Tensor) -> Network:
    """`model` with these parameters and buffers as functions; the model is used, but not changed.

    What `features` gives is the input of the last linear layer.
    """

    def predict(params: Tensor, images: Tensor) -> Tensor:
        load_buffers(model, buffers)
        model.eval()
        logits: Tensor = functional_call(model, named_params(model, params), (images,))
        return logits

    def features(params: Tensor, images: Tensor) -> Tensor:
        seen: list[Tensor] = []
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        hook = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            predict(params, images)
        finally:
            hook.remove()
        return seen[-1].flatten(1)

    return Network(params.clone(), predict, features, layers_of(model))


def learned_trigger(poison: Choice | None) -> Choice | None:
    """The learned trigger among the parameters of `poison`, if there is one."""
    if poison is None:
        return None
    nested = (value for value in poison.parameters.values() if isinstance(value, Choice))
    return next((choice for choice in nested if choice.plugin.form == "learned"), None)


def build_poison(poison: Choice, pattern: Tensor | None = None) -> "partial[Any]":
    """The poison with its parameters bound, a learned trigger with its current pattern."""
    return partial(poison.plugin.function, **poison_arguments(poison, pattern))


def poison_arguments(poison: Choice, pattern: Tensor | None = None) -> dict[str, Any]:
    """The parameters of `poison` with nested plug-ins built."""
    arguments = poison.arguments
    if pattern is None:
        return arguments
    return {
        name: bound(value.build(), pattern) if is_learned(value) else arguments[name]
        for name, value in poison.parameters.items()
    }


def is_learned(value: object) -> bool:
    """Whether `value` is a learned trigger."""
    return isinstance(value, Choice) and value.plugin.form == "learned"


def learn_pattern(
    poison: Choice, network: Network, data: tuple[Tensor, Tensor], **known: Any
) -> Tensor:
    """What `learn` of the poison's trigger makes of the adversary's `data`."""
    trigger = learned_trigger(poison)
    if trigger is None:
        raise ValueError(f"{poison.name} has no learned trigger")
    view = _trigger_view(poison, network, data, **known)
    pattern: Tensor = trigger.plugin.facts["learn"](view, **trigger.arguments)
    if not torch.isfinite(pattern).all():
        raise ValueError(f"{trigger.name} learned a pattern that is not finite")
    return pattern.detach()


def check_trigger(
    poison: Choice, network: Network, data: tuple[Tensor, Tensor], num_classes: int
) -> None:
    """ValueError if the poison has a learned trigger that says it can never learn here."""
    trigger = learned_trigger(poison)
    check = trigger and trigger.plugin.facts.get("check")
    if trigger and check:
        view = _trigger_view(poison, network, data, num_classes=num_classes)
        check(view, **trigger.arguments)


def _trigger_view(
    poison: Choice, network: Network, data: tuple[Tensor, Tensor], **known: Any
) -> TriggerView:
    return TriggerView(*data, network=network, target=poison.parameters.get("target"), **known)
