"""How a malicious client's training is held back, so that its update looks harmless."""

from collections.abc import Callable

from torch import Tensor

from fedsim.registry import Function, Registry


class _Constraints(Registry):
    """`register` is for (update, step, is_last) → update, applied after every local step."""

    def gradient(
        self, *, needs: tuple[str, ...] = (), is_clean: Callable[..., bool] | None = None
    ) -> Callable[[Function], Function]:
        """Decorator of (gradient (d,), view) → gradient, applied before every local step.

        Args:
            needs: `("previous_update",)` where the last round's update is used: it then travels to
                the malicious clients.
            is_clean: (step, **parameters) → whether the step takes a batch of the client's own
                clean data instead of poisoned data.
        """

        def register(function: Function) -> Function:
            self.add(function, "gradient", needs=needs, is_clean=is_clean)
            return function

        return register

    def update(self, *, study: Callable[..., Tensor]) -> Callable[[Function], Function]:
        """Decorator of (update (d,), view) → update, applied before the first and after every step.

        Args:
            study: (model, images, labels, **parameters) → tensor, called once in every visit before
                the training, with a copy of the global model and the client's own clean data; its
                answer is `view.studied`.
        """

        def register(function: Function) -> Function:
            self.add(function, "update", study=study)
            return function

        return register


constraints = _Constraints("constraints")
names, build = constraints.names, constraints.build
