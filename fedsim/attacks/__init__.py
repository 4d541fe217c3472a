"""What malicious clients send: (view) → rows (m, d), or (rows, state)."""

from fedsim.registry import Function, Registry


class _Attacks(Registry):
    """Attacks declare the least knowledge they need."""

    def needs(self, knowledge: str) -> "_Needs":
        """Decorator: register an attack that needs `benign` or `defense` knowledge."""
        return _Needs(self, knowledge)


class _Needs:
    def __init__(self, registry: Registry, knowledge: str) -> None:
        self.registry, self.knowledge = registry, knowledge

    def __call__(self, function: Function) -> Function:
        self.registry.add(function, knowledge=self.knowledge)
        return function


attacks = _Attacks("attacks")
names, build = attacks.names, attacks.build
