"""A scenario as plain values, and the eight digits that stand for its numbers."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim import __version__
from fedsim.registry import Choice
from fedsim.strict import Strict

if TYPE_CHECKING:
    from fedsim.scenario.schema import Scenario

# What cannot change a number. `server_threads`, `device` and `trainer` can.
_WHERE_IT_RUNS = ("name", "workers", "address", "num_cpus", "num_gpus")

# Lists that stand in the tree only where there is something in them: older hashes know them not.
_WHERE_ANY = ("monitors", "after")


def plain(value: Any, name_of: Callable[[Choice], str]) -> Any:
    """`value` with sections and choices as mappings, in the form of the YAML file."""
    match value:
        case Choice():
            return {"name": name_of(value), **plain(dict(value.parameters), name_of)}
        case Strict():
            return section(value, name_of)
        case Mapping():
            return {key: plain(item, name_of) for key, item in value.items()}
        case list() | tuple():
            return [plain(item, name_of) for item in value]
    return value


def section(value: Strict, name_of: Callable[[Choice], str]) -> dict[str, Any]:
    """As `plain`. The YAML form of two sections is not the model's: `model` and `schedule`."""
    given = ((name, item) for name, item in value if item != [] or name not in _WHERE_ANY)
    keys = {name: plain(item, name_of) for name, item in given}
    if "network" in keys:
        return {**keys.pop("network"), **keys}
    if "every" in keys:
        unused = ("rounds",) if keys["rounds"] is None else ("first", "last", "every")
        return {key: item for key, item in keys.items() if key not in unused}
    return keys


def choices(value: Any) -> Iterator[Choice]:
    """All plug-ins chosen anywhere in `value`, nested ones included."""
    match value:
        case Choice():
            yield value
            yield from choices(list(value.parameters.values()))
        case Strict():
            yield from choices([item for _, item in value])
        case list() | tuple():
            for item in value:
                yield from choices(item)


def contents(scenario: "Scenario") -> dict[str, str]:
    """Path → SHA-256 of every file of the user that the scenario rests on.

    That of a plug-in's file is of what was run when the plug-in was looked up.
    """
    facts = [choice.plugin.facts for choice in choices(scenario)]
    found = {str(one["file"]): str(one["sha256"]) for one in facts if "file" in one}
    if scenario.model.weights is not None:
        found[scenario.model.weights] = digest(Path(scenario.model.weights))
    return found


def hash8(scenario: "Scenario", digests: Mapping[str, str]) -> str:
    """First 8 hex digits of SHA-256 over what can change a number, as canonical JSON.

    A user's file counts by its content (`digests`), not by its path.
    """

    def name_of(choice: Choice) -> str:
        path, colon, function = choice.name.rpartition(":")
        return f"{digests[path]}:{function}" if colon else choice.name

    tree = section(scenario, name_of)
    del tree["name"]
    for key in _WHERE_IT_RUNS:
        del tree["engine"][key]
    if scenario.model.weights is not None:
        tree["model"]["weights"] = digests[scenario.model.weights]
    version = ".".join(__version__.split(".")[:2])
    text = json.dumps([version, tree], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def digest(file: Path) -> str:
    """SHA-256 of the file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def sweep_hash(hashes: Iterable[str]) -> str:
    """Eight hex digits for the cells of a sweep in their order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()[:8]
