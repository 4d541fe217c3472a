"""The errors of pydantic in the words of a scenario's author."""

import re
from typing import Any

from pydantic_core import ErrorDetails

from fedsim.errors import explain, suggest
from fedsim.scenario.documents import Document
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml12 import Where, flow

_TYPES = {
    "plugin": "{name: ...} with its parameters",
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


def first_problem(problems: list[ErrorDetails], document: Document) -> tuple[Where, str]:
    """Where the first problem is and what is wrong there.

    The alternatives of a union each have their say. The one that got furthest into the value is
    meant; those that stopped at the same place are told together.
    """
    placed = [(_where(item, document), item) for item in problems]
    where, first = placed[0]
    if len(where) < len(first["loc"]):
        inside = [path for path, _ in placed if path[: len(where)] == where]
        where = max(inside, key=len)
    whats = [_what(item) for path, item in placed if path == where]
    return where, _joined(whats)


def _where(item: ErrorDetails, document: Document) -> Where:
    """The key of a problem; what is wrong with a plug-in as a whole is its name."""
    path = document.where(item["loc"], item["type"] == "missing")
    named = item["type"] == "plugin" and isinstance(item["input"], dict) and "name" in item["input"]
    return (*path, "name") if named else path


def _joined(whats: list[str]) -> str:
    parts = [re.fullmatch(r"must be (.*); got (.*)\.", what, re.DOTALL) for what in whats]
    found = [part for part in parts if part]
    if len(found) < len(parts) or len({part[2] for part in found}) > 1:
        return whats[0]
    wanted = list(dict.fromkeys(part[1] for part in found))
    if "a number" in wanted and "a whole number" in wanted:
        wanted.remove("a whole number")
    return f"must be {' or '.join(wanted)}; got {found[0][2]}."


def _what(item: ErrorDetails) -> str:
    """One problem in words; values are shown as they could stand in YAML."""
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "unknown_key" and len(item["loc"]) == 1:
        known = [*Scenario.model_fields, "matrix"]
        return f"unknown key. {suggest(str(item['loc'][0]), known)}"
    if kind in {"missing", "value_error", "unknown_key"}:
        return explain(item)
    if kind == "plugin" and isinstance(value, dict):
        return _naming(value, explain(item))
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


def _naming(choice: dict[str, Any], text: str) -> str:
    """What is wrong with the name of a plug-in; `text` says why none is found by it."""
    if "name" not in choice:
        return "needs a name."
    if not isinstance(choice["name"], str):
        return f"must be text; got {flow(choice['name'])}."
    return text if text.endswith(("?", ".")) else f"{text}."
