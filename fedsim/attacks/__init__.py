"""What malicious clients send: (view) → rows (m, d), or (rows, state)."""

from fedsim.registry import Function, Registry


class _Attacks(Registry):
    """Attacks declare the least knowledge they need."""

    def needs(self, knowledge: str = "own", *, model: bool = False) -> "_Needs":
        """Decorator: register an attack that needs `benign` or `defense` knowledge.

        With `model`, which no knowledge withholds, it is given a copy of the global network and its
        clients' own clean data: `view.model` and `view.data`.
        """
        return _Needs(self, knowledge, model)


class _Needs:
    def __init__(self, registry: Registry, knowledge: str, model: bool) -> None:
        self.registry, self.knowledge, self.model = registry, knowledge, model

    def __call__(self, function: Function) -> Function:
        self.registry.add(function, knowledge=self.knowledge, model=self.model)
        return function


attacks = _Attacks("attacks")
names, build = attacks.names, attacks.build
