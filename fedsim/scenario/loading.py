"""From a file, a mapping or a scenario to checked cells."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fedsim.errors import ScenarioError, explain, suggest
from fedsim.scenario.documents import Document, document, told
from fedsim.scenario.matrix import expand
from fedsim.scenario.overrides import Overrides, override
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml12 import Where, flow


@dataclass(frozen=True)
class Cell:
    """One scenario to run; `labels` tell it from the other cells of its matrix."""

    scenario: Scenario
    labels: dict[str, str]
    source: Document

    def error(self, where: Where, text: str) -> ScenarioError:
        """The error `text`, placed at the key `where` of the user's scenario."""
        return self.source.error(where, text)


def load(
    source: Path | str | Mapping[str, Any] | Scenario, overrides: Overrides = ()
) -> list[Cell]:
    """The cells of a scenario, one if it has no matrix, in row-major order of the matrix.

    Raises: ScenarioError, one line `PLACE: where: what is wrong. fix`, for the first problem.
    """
    raw = override(document(source), overrides)
    cells = [Cell(_checked(cell, raw, labels), labels, cell) for cell, labels in expand(raw)]
    _distinct(cells, raw)
    return cells


def _checked(cell: Document, raw: Document, labels: Mapping[str, str]) -> Scenario:
    try:
        return Scenario.model_validate(cell.tree, context={"folder": cell.folder})
    except ValidationError as error:
        problems = error.errors(include_url=False)
    except OSError as error:
        raise told(cell.place(()), (), f"names a file that cannot be read: {error}.") from None
    where, text = _first(problems, cell)
    for key in labels:
        path = tuple(key.split("."))
        if problems[0]["type"] == "unknown_key" and path[: len(where)] == where != raw.where(where):
            what = f"names nothing: '{where[-1]}' is an {text}"
            raise raw.error(("matrix", key), what)
    raise told(cell.place(where), where, text)


def _distinct(cells: list[Cell], raw: Document) -> None:
    """Two cells of the same name and numbers would share a run folder."""
    seen: dict[tuple[str, str], int] = {}
    for k, cell in enumerate(cells):
        run = (cell.scenario.name, cell.scenario.hash8)
        if run in seen:
            what = f"makes cells {seen[run] + 1} and {k + 1} the same run. Keep one of them."
            raise raw.error(("matrix",), what)
        seen[run] = k


def _first(problems: list[ErrorDetails], cell: Document) -> tuple[Where, str]:
    """Where the first problem is and what is wrong there.

    The alternatives of a union each have their say. The one that got furthest into the value is
    meant; those that stopped at the same place are told together.
    """
    placed = [(cell.where(item["loc"], item["type"] == "missing"), item) for item in problems]
    where, first = placed[0]
    if len(where) < len(first["loc"]):
        inside = [path for path, _ in placed if path[: len(where)] == where]
        where = max(inside, key=len)
    whats = [_what(item) for path, item in placed if path == where]
    return where, _joined(whats)


def _joined(whats: list[str]) -> str:
    parts = [re.fullmatch(r"must be (.*); got (.*)\.", what, re.DOTALL) for what in whats]
    found = [part for part in parts if part]
    if len(found) < len(parts) or len({part[2] for part in found}) > 1:
        return whats[0]
    return f"must be {' or '.join(dict.fromkeys(part[1] for part in found))}; got {found[0][2]}."


_TYPES = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}


def _what(item: ErrorDetails) -> str:
    """One problem in words; values are shown as they could stand in YAML."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "unknown_key" and len(item["loc"]) == 1:
        known = [*Scenario.model_fields, "matrix"]
        return f"unknown key. {suggest(str(item['loc'][0]), known)}"
    if kind in {"missing", "value_error", "unknown_key", "plugin"}:
        return explain(item)
    got = f"got {value!r}." if isinstance(value, str) and len(value) < 60 else f"got {flow(value)}."
    if kind in _TYPES:
        return f"must be {_TYPES[kind]}; {got}"
    if kind == "literal_error":
        return f"must be {context['expected']}; {got}"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}; {got}"
    if kind == "too_short":
        return f"must have at least {context['min_length']} item; {got}"
    return f"{item['msg'].replace('Input should be', 'must be')}; {got}"
