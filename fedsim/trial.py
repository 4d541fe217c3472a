"""A rule on trial: what it is called, what it assumes, how it is put there again."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.aggregators import aggregators
from fedsim.evaluation import Suite
from fedsim.library import Named, choose, unpacked
from fedsim.registry import Choice
from fedsim.scenario import Cell
from fedsim.scenario.yaml12 import flow
from fedsim.written import as_file


@dataclass(frozen=True)
class Trial:
    """The rule `choice` in front of `suite`; `shown` is how a command names it.

    `given` are the parameters that somebody chose; `assumed`, whether `num_byzantine` is not one of
    them but the suite's.
    """

    choice: Choice
    suite: Suite
    shown: str
    given: tuple[str, ...]
    assumed: bool

    @property
    def label(self) -> str:
        """The rule's name alone."""
        return self.choice.name.rpartition(":")[2]

    @property
    def command(self) -> str:
        """The command that gives the same card again."""
        config = self.choice.config()
        own = {key: config[key] for key in self.given}
        given = [f"{k}={flow(v)}" for k, v in {**own, **self.suite.overrides}.items()]
        changes = ["--set '" + text.replace("'", "'\\''") + "'" for text in given]
        names = shlex.quote(self.shown), shlex.quote(self.suite.given)
        return " ".join(["fedsim evaluate", names[0], *changes, "--suite", names[1]])

    def config(self) -> dict[str, Any]:
        """The rule as it stands on a card: a user's file by its name and content."""
        config = self.choice.config()
        facts = self.choice.plugin.facts
        file: Path | None = facts.get("file")
        if file is None:
            return config
        return {**config, "name": f"{file.name}:{self.label}", "sha256": facts["sha256"]}

    def assumptions(self, cells: Sequence[Cell]) -> list[str]:
        """What the card takes for granted, in sentences."""
        parameters = self.choice.config()
        count, told = parameters.pop("num_byzantine", None), []
        if count is not None:
            suites = "the suite's assumption, for the rule was given none"
            own = "as given" if "num_byzantine" in self.given else "the rule's default"
            told.append(f"num_byzantine = {count} ({suites if self.assumed else own}).")
        rest = [f"{key} = {flow(value)}" for key, value in parameters.items() if key != "name"]
        if rest:
            told.append(f"Parameters: {', '.join(rest)}.")
        root = cells[0].scenario.server.root_data
        if root is not None and self.choice.plugin.form in ("stateful", "user"):
            told.append(self._root(root))
        return [*told, _federation(cells)]

    def _root(self, root: float) -> str:
        needs = set(self.choice.plugin.facts.get("needs", ()))
        uses = "the rule uses" if needs & {"root", "root_update"} else "a rule with a view can see"
        share = f"{root} clean images" if isinstance(root, int) else f"{root:.0%} of the images"
        return f"The server holds {share}, which {uses}."


def on_trial(rule: Named, parameters: Mapping[str, Any], suite: Suite, output: Path) -> Trial:
    """The trial of a rule by name, by file or as a function, with its parameters checked.

    Raises: ValueError for a rule that is not there or does not take the parameters.
    """
    function, own = unpacked(rule, parameters)
    shown = function if isinstance(function, str) else function.__name__
    if not isinstance(function, str) and not _is_built_in(function):
        function = as_file(function, output / "rules")
        shown = os.path.relpath(function)
    given = tuple(own)
    fields = aggregators.resolve(function).parameters.model_fields
    needed = "num_byzantine" in fields and "num_byzantine" not in own
    assumed = needed and suite.num_byzantine is not None
    if assumed:
        own["num_byzantine"] = suite.num_byzantine
    return Trial(choose(aggregators, function, own), suite, shown, given, assumed)


def _is_built_in(function: Any) -> bool:
    known = aggregators.declared(function)
    return known is not None and known.function.__module__.startswith("fedsim.")


def _federation(cells: Sequence[Cell]) -> str:
    """Who takes part, in all cells."""
    scenarios = [cell.scenario for cell in cells]
    malicious = sorted({one.num_malicious for one in scenarios})
    shares = " or ".join(map(str, malicious))
    clients = scenarios[0].clients
    return (
        f"{shares} of {clients.total} clients are malicious, {clients.per_round} take part in each "
        f"of {scenarios[0].rounds} rounds."
    )
