"""Overrides `key=value`: put into the raw tree before anything is checked."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedsim.scenario.documents import Document, child, number, plain, told
from fedsim.scenario.yaml12 import MAX_DEPTH, MAX_TEXT, Where, YamlError, flow, read

Overrides = Mapping[str, object] | Sequence[str]


class PathError(Exception):
    """A path that leads nowhere: `at` is the last place reached."""

    def __init__(self, at: Where, what: str) -> None:
        super().__init__(what)
        self.at, self.what = at, what


def override(document: Document, overrides: Overrides) -> Document:
    """`document` with the overrides applied in order; their errors begin with `--set key=value`."""
    tree, places = copy.deepcopy(document.tree), dict(document.places)
    applied: list[tuple[Where, str]] = []
    for key, value, place in pairs(overrides):
        path = _path(tree, key, place)
        try:
            put(tree, places, path, _from_here(path, value), {(): place})
        except PathError as error:
            raise told(place, error.at, error.what) from None
        applied.append((path, place))
    for path, place in applied:
        _not_lost(tree, path, place)
    return replace(document, tree=tree, places=places)


def put(
    tree: dict[str, Any],
    places: dict[Where, str],
    path: Where,
    value: Any,
    origin: Mapping[Where, str],
) -> None:
    """Set `path` of `tree` in place; `origin` holds the places inside `value`, () its own.

    What is missing on the way becomes a mapping. PathError if a number or text is in the way.
    """
    node: Any = tree
    at: Where = ()
    for part in path[:-1]:
        key = _enter(node, at, part)
        at = (*at, key)
        if isinstance(node, dict) and node.get(key) is None:
            node[key] = {}
            places[at] = origin[()]
        node = node[key]
    last = _enter(node, at, path[-1])
    node[last] = value
    at = (*at, last)
    for inner in [known for known in places if known[: len(at)] == at]:
        del places[inner]
    places.update({(*at, *inner): place for inner, place in origin.items()})


def _enter(node: Any, at: Where, part: str | int) -> str | int:
    """The key of `part` in `node`, there already or to be made."""
    key = child(node, number(part))
    if key is not None:
        return key
    if isinstance(node, dict):
        return number(part)
    if isinstance(node, list):
        raise PathError(at, f"is a list of {len(node)}; '{part}' is no index into it.")
    raise PathError(at, f"is {flow(node)}, not a mapping that could hold '{part}'.")


def pairs(overrides: Overrides) -> Iterator[tuple[str, Any, str]]:
    """Key, value and the text that begins an error."""
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            place = f"--set {key}={flow(value)}"
            yield str(key), plain(value, place, (str(key),)), place
        return
    for text in [overrides] if isinstance(overrides, str) else overrides:
        place = f"--set {text[:200]}"
        key, equals, value = text.partition("=")
        if not equals or len(text) > MAX_TEXT:
            raise told(place, (key,), "must be key=value.")
        try:
            yield key, read(value)[0], place
        except YamlError as error:
            raise told(place, (key, *error.where), error.what) from None


def _path(tree: dict[str, Any], key: str, place: str) -> Where:
    """The parts of a dotted key; what follows `matrix.` is one key of the matrix."""
    parts = key.split(".")
    if not all(parts) or len(parts) > MAX_DEPTH:
        raise told(place, (key,), "must be a key such as server.aggregator.name.")
    if parts[0] != "matrix" or len(parts) == 1:
        return tuple(parts)
    rest, matrix = ".".join(parts[1:]), tree.get("matrix")
    axis, _, index = rest.rpartition(".")
    if index.isdigit() and isinstance(matrix, dict) and axis in matrix:
        return "matrix", axis, index
    return "matrix", rest


def _from_here(path: Where, value: Any) -> Any:
    """`value` with the user's files made absolute: here they are relative to the working folder."""
    if isinstance(value, dict):
        return {key: _from_here((*path, key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_from_here((*path, k), item) for k, item in enumerate(value)]
    keys = ".".join(part for part in path if isinstance(part, str)).split(".")
    is_file = keys[-2:] == ["model", "weights"] or (keys[-1] == "name" and ".py:" in str(value))
    return str(Path.cwd() / value) if is_file and isinstance(value, str) else value


def _not_lost(tree: dict[str, Any], path: Where, place: str) -> None:
    """An override of what the matrix sets would be silently lost."""
    matrix = tree.get("matrix")
    for axis in matrix if isinstance(matrix, dict) else ():
        parts = tuple(str(axis).split("."))
        if path[: len(parts)] == parts:
            what = f"is set by the matrix. Override matrix.{axis} with a list instead."
            raise told(place, path, what)
