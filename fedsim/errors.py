"""What can go wrong, and how it is told in one line."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

OUT_OF_RANGE = "the global model has left the range in which anybody can train"
"""Why a run ended whose model an attack, or a rule, has driven out of the range of numbers."""


class FedsimError(Exception):
    """An error told in one line; `exit_code` is what the command ends with."""

    exit_code = 3


class InputError(FedsimError):
    """The user's input is wrong: a scenario, an override, a file, an argument."""

    exit_code = 2


class ScenarioError(InputError):
    """A scenario is wrong. The message reads `PLACE: where: what is wrong. fix`."""


class UnplacedError(InputError):
    """Something wrong at the key `where` of a scenario, found where its file is not at hand."""

    def __init__(self, where: tuple[str | int, ...], text: str) -> None:
        super().__init__(f"{'.'.join(map(str, where))}: {text}")
        self.where, self.text = where, text


class DataError(InputError):
    """Data are missing or unreadable; the loader adds the place of `dataset`."""


class RunError(FedsimError):
    """A run could not go on; what it has written so far is intact."""


class PreconditionError(ValueError):
    """A rule's precondition on the cohort of the round does not hold."""


def suggest(name: str, known: list[str]) -> str:
    """A sentence that names the nearest known name, or all of them when none is near."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"Did you mean '{near[0]}'?"
    return f"Known: {', '.join(sorted(known))}." if known else ""


def explain(error: Mapping[str, Any]) -> str:
    """One pydantic error (an item of `ValidationError.errors()`) as a short sentence."""
    kind, got, context = error["type"], error.get("input"), error.get("ctx", {})
    match kind:
        case "missing":
            return "is required."
        case "value_error":
            return str(context["error"])
        case "unknown_key" | "plugin":
            return str(error["msg"]).rstrip()
        case "literal_error":
            return f"must be {context['expected']}; got {got!r}."
    text = error["msg"]
    if text.startswith("Input should be "):
        text = "must be " + text.removeprefix("Input should be ")
    return f"{text}; got {_short(got)}."


def first_line(error: ValidationError, given: object) -> str:
    """The first error of `error` as `where: what`, where being the dotted place in `given`."""
    item = error.errors()[0]
    path: list[str] = []
    for part in item["loc"]:
        inside = isinstance(part, int) and isinstance(given, list) and part < len(given)
        is_there = inside or (isinstance(given, dict) and part in given)
        if is_there or item["type"] == "missing":
            path.append(str(part))
            given = given[part] if is_there else None  # type: ignore[index]
    where = ".".join(path)
    return f"{where}: {explain(item)}" if where else explain(item)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
