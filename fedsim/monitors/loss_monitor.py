"""The loss on the server's data: over a threshold too often, it asks for an audit of accuracy."""

from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import cross_entropy

from fedsim.monitors import monitors
from fedsim.strict import Count
from fedsim.suspects import Watch
from fedsim.types import State


@monitors.register
def loss_monitor(
    watch: Watch,
    *,
    threshold: Annotated[float, Field(gt=0)] = 1.0,
    count: Count = 2,
) -> tuple[str | None, State]:
    """An alarm, with an audit of accuracy, when the loss was too high more than `count` times.

    A round whose mean cross-entropy on the server's data exceeds the threshold, or is not finite,
    is a warning. The warning after the first `count` is the alarm, and counting begins anew.

    Paper: Yang et al., 2017, arXiv:1703.01340.
    Differs: it looks at the global model after each round, not at each batch before it is trained
    on; a loss that has not yet been below the threshold gives no warning, as a federation begins
    with a model that has learned nothing.

    Args:
        threshold: in nats; guessing among k classes costs ln k.
        count: warnings that are let pass.

    >>> confused = Watch(1, lambda images: torch.zeros(2, 10), torch.zeros(2, 1, 1, 1),
    ...     torch.tensor([0, 1]), 10, {"best": torch.tensor(0.9), "warnings": torch.tensor(2)})
    >>> loss_monitor(confused)[0]
    'loss 2.303 over 1 for the 3rd time; accuracy on root data 0.500, at best 0.900'
    """
    logits = watch.predict(watch.images)
    loss = float(cross_entropy(logits, watch.labels))
    accuracy = float((logits.argmax(dim=1) == watch.labels).double().mean())
    warnings, best = int(watch.state.get("warnings", 0)), float(watch.state.get("best", 0))
    calm = loss <= threshold  # false for NaN
    if calm or best > 0:
        best = max(best, accuracy if calm else 0.0)
        warnings += not calm
    alarm = None
    if warnings > count:
        seen = f"accuracy on root data {accuracy:.3f}, at best {best:.3f}"
        alarm = f"loss {loss:.3f} over {threshold:g} for the {_ordinal(warnings)} time; {seen}"
        warnings = 0
    return alarm, {"warnings": torch.tensor(warnings), "best": torch.tensor(best)}


def _ordinal(number: int) -> str:
    """A number as a rank.

    >>> [_ordinal(number) for number in (1, 2, 3, 4, 11, 22)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd']
    """
    teen = 10 < number % 100 < 14
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
