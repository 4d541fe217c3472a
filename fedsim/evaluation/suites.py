"""Suites: scenarios with a matrix of attacks, in which only the server's rule changes.

A suite is an ordinary scenario. The key `server` of its matrix holds the rules to compare with, the
plain mean among them; `fedsim run` plays it as it is, `fedsim evaluate` with a rule in their place.
"""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fedsim
from fedsim.errors import InputError, suggest
from fedsim.scenario import Cell, Document, document, load, question_of, sweep_hash
from fedsim.scenario.overrides import override, put

SUITES = ("quick", "core", "full")
"""Those that come with fedsim."""

STAGES = ("preaggregators", "aggregator", "postaggregators")

AXIS = ("matrix", "server")

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Suite:
    """The attacks of `document` and the rules that it compares with.

    `num_byzantine` is what rules assume there, None where no reference says so.
    """

    name: str
    question: str
    document: Document
    given: str
    """What it was asked for as: a name, or the path of a file."""
    overrides: Mapping[str, Any]

    @property
    def references(self) -> list[Tree]:
        """What the server does in each reference; the plain mean comes first."""
        servers = self._servers()
        return sorted(servers, key=lambda server: not _is_mean(server))

    @property
    def num_byzantine(self) -> int | None:
        """How many malicious clients the references assume."""
        return next(_assumed(self.references), None)

    @property
    def hash(self) -> str:
        """Eight hex digits that change with whatever can change a number of the plain mean."""
        return sweep_hash(self.cells(self.references[0], "mean"))

    def cells(self, server: Tree, name: str) -> list[Cell]:
        """The cells of the suite with this server; `name` stands in its errors for a place."""
        tree, places = copy.deepcopy(self.document.tree), dict(self.document.places)
        put(tree, places, AXIS, [dict(server)], {(): name})
        return load(replace(self.document, tree=tree, places=places))

    def server(self, aggregator: Tree) -> Tree:
        """A server that aggregates with this rule alone.

        It is otherwise as where the suite has the rule among its references, else as the mean's.
        """
        alone = [one for one in self.references if _rule_alone(one) == aggregator["name"]]
        like = alone[0] if alone else self.references[0]
        kept = {k: item for k, item in like.items() if k not in STAGES}
        return {**kept, "aggregator": dict(aggregator)}

    def _servers(self) -> list[Tree]:
        servers = (self.document.tree.get("matrix") or {}).get("server")
        if not isinstance(servers, list) or not any(map(_is_mean, servers)):
            text = "a suite needs the rules to compare with, {aggregator: {name: mean}} among them."
            raise self.document.error(AXIS, text)
        return servers


def load_suite(suite: str | Path, overrides: Mapping[str, Any] | None = None) -> Suite:
    """The suite of that name, or of that file.

    Raises: InputError where there is none; ScenarioError where it is no suite.
    """
    path = _path(suite)
    whole = override(document(path), overrides or {})
    changed = dict(overrides or {})
    if whole.tree.get("clean_twin") is not True:
        text = "a suite needs it: harm is measured against the clean twin. Write clean_twin: true."
        raise whole.error(("clean_twin",), text)
    found = Suite(str(whole.tree.get("name")), question_of(path), whole, str(suite), changed)
    _ = found.references
    return found


def _path(suite: str | Path) -> Path:
    if suite in SUITES:
        package = Path(fedsim.__file__).parent
        shipped = package / "suites"
        folder = shipped if shipped.is_dir() else package.parent / "scenarios" / "suites"
        return folder / f"{suite}.yaml"
    if not Path(suite).is_file():
        known = suggest(str(suite), list(SUITES))
        raise InputError(f"--suite {suite}: is neither a suite nor a file. {known}")
    return Path(suite)


def _is_mean(server: object) -> bool:
    return _rule_alone(server) == "mean"


def _rule_alone(server: object) -> str | None:
    """The name of the rule that a server aggregates with, None if it does anything else beside."""
    if not isinstance(server, Mapping) or not isinstance(rule := server.get("aggregator"), Mapping):
        return None
    steps = [*(server.get("preaggregators") or ()), *(server.get("postaggregators") or ())]
    return None if steps else rule.get("name")


def _assumed(value: object) -> Iterator[int]:
    match value:
        case list():
            for item in value:
                yield from _assumed(item)
        case Mapping():
            if isinstance(count := value.get("num_byzantine"), int):
                yield count
            yield from _assumed(list(value.values()))
