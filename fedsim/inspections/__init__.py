"""Is this finished model backdoored? (suspect) → Verdict."""

from collections.abc import Callable

from fedsim.registry import Function, Registry


class _Inspections(Registry):
    def declare(self, *, data: bool = True) -> Callable[[Function], Function]:
        """Decorator: `data` says whether clean images of the server's are needed."""

        def register(function: Function) -> Function:
            self.add(function, data=data)
            return function

        return register


inspections = _Inspections("inspections")
names, build = inspections.names, inspections.build
