"""What stands in front of a finished model: (suspect) → (images → Filtered)."""

from collections.abc import Callable

from fedsim.registry import Function, Registry


class _Filters(Registry):
    def declare(self, *, data: bool = True) -> Callable[[Function], Function]:
        """Decorator: `data` says whether clean images of the server's are needed."""

        def register(function: Function) -> Function:
            self.add(function, data=data)
            return function

        return register


filters = _Filters("filters")
names, build = filters.names, filters.build
