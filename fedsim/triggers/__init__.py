"""What is stamped on pixels: images (b, c, h, w) in [0, 1] → images of the same shape."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from fedsim.registry import Function, Registry

Trigger = Callable[[Tensor], Tensor]


class _Triggers(Registry):
    """A learned trigger is (images, pattern=None) → images; None stands for its first pattern."""

    def learned(
        self, learn: Callable[..., Tensor], check: Callable[..., object] | None = None
    ) -> Callable[[Function], Function]:
        """Decorator of a trigger whose pattern the adversary learns once a round.

        Args:
            learn: (view: TriggerView, **parameters) → the pattern from this round on.
            check: called likewise before the first round, with the initial model and a few images:
                ValueError for what `learn` can never do.
        """

        def register(function: Function) -> Function:
            self.add(function, "learned", learn=learn, check=check)
            return function

        return register


triggers = _Triggers("triggers")
names, build = triggers.names, triggers.build


def bound(trigger: Callable[..., Any], pattern: Tensor) -> Trigger:
    """The learned `trigger` with its current pattern."""

    def stamp(images: Tensor) -> Tensor:
        stamped: Tensor = trigger(images, pattern)
        return stamped

    return stamp
