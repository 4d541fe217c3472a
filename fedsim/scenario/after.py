"""What is done with the finished model, and what watches it while it is trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fedsim import filters, inspections, monitors, repairs  # noqa: F401 (kinds register)
from fedsim.errors import suggest
from fedsim.registry import Choice, OneOf, Plugin, plugins, registry

if TYPE_CHECKING:
    from fedsim.scenario.schema import Scenario

Problem = tuple[tuple[str | int, ...], str]

KINDS = ("inspections", "repairs", "filters")
"""What `after` takes."""

_DECORATORS = "@inspections.declare(), @repairs.register or @filters.declare()"


class OneCheck(OneOf):
    """Annotation of a check on the finished model: an inspection, a repair or a filter."""

    def __init__(self) -> None:
        super().__init__(KINDS[0])

    def plugins(self) -> list[Plugin]:
        """The checks of all three kinds."""
        return [plugin for kind in KINDS for plugin in plugins(kind)]

    def find(self, name: str, folder: Path | None) -> Plugin:
        """The check of that name; ValueError if there is none, or if it says not of which kind."""
        if ".py:" in name:
            return _of_the_users(name, folder)
        for kind in KINDS:
            if name in registry(kind).names():
                return registry(kind).get(name)
        known = suggest(name, [plugin.name for plugin in self.plugins()])
        raise ValueError(f"unknown inspection, repair or filter '{name}'. {known}".rstrip())


Checks = list[Annotated[Choice, OneCheck()]]
Monitors = list[Annotated[Choice, OneOf("monitors")]]


def problems(scenario: "Scenario") -> Iterator[Problem]:
    """What needs the server's clean images where it has none."""
    if scenario.server.root_data is not None:
        return
    for key, chosen in (("after", scenario.after), ("monitors", scenario.monitors)):
        for k, choice in enumerate(chosen):
            if needs_data(choice):
                yield (key, k), f"'{choice.name}' needs root data. Set server.root_data."


def needs_data(choice: Choice) -> bool:
    """Whether a check, or one that it is given as a parameter, needs clean images."""
    return any(
        one.plugin.facts.get("data", True)
        for one in choice.walk()
        if one.plugin.kind in (*KINDS, "monitors")
    )


def short_name(choice: Choice) -> str:
    """The name of a check in results and of its files: without the path of a user's file."""
    return choice.name.rpartition(":")[2]


def distinct_names(choices: Sequence[Choice]) -> list[str]:
    """The short names; from the second of a name on with its number, as `loss_monitor#2`."""
    names = [short_name(choice) for choice in choices]
    numbers = [names[: position + 1].count(name) for position, name in enumerate(names)]
    pairs = zip(names, numbers, strict=True)
    return [name if number == 1 else f"{name}#{number}" for name, number in pairs]


def _of_the_users(name: str, folder: Path | None) -> Plugin:
    """A function of a user's file; its decorator says which of the three kinds it is of."""
    found, problem = [], None
    for kind in KINDS:
        try:
            found.append(registry(kind).get(name, folder))
        except ValueError as error:  # there is no such function, or it is of another kind
            problem = error
    declared = [plugin for plugin in found if plugin.form != "user"]
    if not declared and problem is not None:
        raise problem
    if not declared:
        raise ValueError(f"{found[0].name} is not declared. Put {_DECORATORS} above it")
    return declared[0]
