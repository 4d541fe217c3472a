"""The constraints of a malicious client's training, made ready for one visit."""

import copy
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from fedsim.registry import Choice
from fedsim.simulation.training import Restraint
from fedsim.tensors import flatten_params
from fedsim.types import ConstraintView, Split

OnUpdate = Callable[[Tensor, int, bool], Tensor]


def restraint_of(
    chosen: Sequence[Choice], clean: Split, previous_update: Tensor | None, model: nn.Module
) -> Restraint | None:
    """What the constraints do in this visit; None without any. `model` holds the global one."""
    if not chosen:
        return None
    by_gradient = [choice for choice in chosen if on_gradient(choice)]
    by_update = [
        (choice, _on_update(choice, clean, model)) for choice in chosen if choice not in by_gradient
    ]
    return Restraint(
        on_gradient=[choice.build() for choice in by_gradient],
        on_update=[constraint for _, constraint in by_update],
        on_start=[
            _before_the_first_step(constraint)
            for choice, constraint in by_update
            if choice.plugin.form == "update"
        ],
        is_clean=[
            partial(choice.plugin.facts["is_clean"], **choice.arguments)
            for choice in by_gradient
            if choice.plugin.facts.get("is_clean")
        ],
        clean=clean,
        previous_update=previous_update,
    )


def on_gradient(constraint: Choice) -> bool:
    """Whether a constraint acts on gradients; a user's function tells by its two arguments."""
    form = constraint.plugin.form
    return form == "gradient" or (form == "user" and len(constraint.plugin.takes) == 2)


def _before_the_first_step(constraint: OnUpdate) -> Callable[[Tensor], Tensor]:
    return lambda update: constraint(update, 0, False)


def _on_update(constraint: Choice, clean: Split, model: nn.Module) -> OnUpdate:
    """The constraint as (update, step, is_last) → update; one that studies the model does so."""
    function = constraint.build()
    if constraint.plugin.form != "update":
        return function
    params, study = flatten_params(model), constraint.plugin.facts["study"]
    subject = copy.deepcopy(model).eval()
    studied = study(subject, clean.images, clean.labels, **constraint.arguments)

    def held(update: Tensor, step: int, is_last: bool) -> Tensor:
        view = ConstraintView(update, params, step, is_last, studied=studied)
        result: Tensor = function(update, view)
        return result

    return held
