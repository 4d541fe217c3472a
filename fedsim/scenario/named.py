"""Checks named on the command line instead of under `after` in a scenario."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedsim.registry import Choice
from fedsim.scenario.after import Checks
from fedsim.scenario.documents import Document, told
from fedsim.scenario.overrides import PathError, put
from fedsim.scenario.section import Section
from fedsim.scenario.wording import first_problem
from fedsim.scenario.yaml12 import Where, YamlError, read


class _Named(Section):
    after: Checks


def named_checks(names: Sequence[str], settings: Sequence[str] = ()) -> list[Choice]:
    """The checks called `names`, with parameters given as `NAME.key=value`.

    Raises: ScenarioError that begins with `--with NAME` or `--set NAME.key=value`.
    """
    tree: dict[str, Any] = {"after": [{"name": name} for name in names]}
    places: dict[Where, str] = {(): "--with"}
    places |= {("after", k): f"--with {name}" for k, name in enumerate(names)}
    for text in settings:
        _set(tree, places, names, text)
    given = Document(tree, places, Path.cwd())
    try:
        return _Named.model_validate(tree, context={"folder": given.folder}).after
    except ValidationError as error:
        where, text = first_problem(error.errors(include_url=False), given)
        shown = (str(names[int(where[1])]), *where[2:]) if len(where) > 1 else where
        raise told(given.place(where), tuple(p for p in shown if p != "name"), text) from None


def _set(tree: dict[str, Any], places: dict[Where, str], names: Sequence[str], text: str) -> None:
    place = f"--set {text[:200]}"
    key, equals, value = text.partition("=")
    if not equals:
        raise told(place, (key,), "must be NAME.key=value.")
    meant = [k for k, name in enumerate(names) if _begins(key, name)]
    if not meant:
        known = ", ".join(_short(name) for name in names)
        raise told(place, (key,), f"must begin with the name of a check, {known}, and a dot.")
    for k in meant:
        rest = key.partition(f"{_short(names[k])}.")[2]
        try:
            put(tree, places, ("after", k, *rest.split(".")), read(value)[0], {(): place})
        except YamlError as error:
            raise told(place, (key, *error.where), error.what) from None
        except PathError as error:
            raise told(place, (key,), error.what) from None


def _begins(key: str, name: str) -> bool:
    return key.startswith((f"{name}.", f"{_short(name)}."))


def _short(name: str) -> str:
    """A user's function without the path of its file."""
    return name.rpartition(":")[2]
