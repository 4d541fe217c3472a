"""Scores: (logits (b, k), labels (b,)) → a number; each declares its bounds and direction."""

from collections.abc import Callable

from fedsim.registry import Function, Registry


class _Metrics(Registry):
    """Plots and tables need to know which way is better and how far a score can go."""

    def declare(
        self, *, higher_is_better: bool, bounds: tuple[float, float | None]
    ) -> Callable[[Function], Function]:
        """Decorator of a metric with its direction and its lower and upper bound (None: open)."""

        def decorate(function: Function) -> Function:
            self.add(function, higher_is_better=higher_is_better, bounds=bounds)
            return function

        return decorate


metrics = _Metrics("metrics")
names, build = metrics.names, metrics.build
