"""The cells of a `matrix`: every combination of its values, the last key fastest."""

import copy
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from fedsim.scenario.documents import Document
from fedsim.scenario.overrides import PathError, put
from fedsim.scenario.yaml12 import Where, flow

MAX_CELLS = 10_000
MAX_VALUES = 2_000_000
_STAGES = {"preaggregators", "aggregator", "postaggregators"}


def expand(document: Document) -> Iterator[tuple[Document, dict[str, str]]]:
    """Every cell with its labels (matrix key → short text); one without labels if no matrix."""
    base = {key: value for key, value in document.tree.items() if key != "matrix"}
    axes = _axes(document)
    labels = {key: texts(values) for key, values in axes.items()}
    for chosen in itertools.product(*(range(len(values)) for values in axes.values())):
        tree, places = copy.deepcopy(base), dict(document.places)
        for key, k in zip(axes, chosen, strict=True):
            value = copy.deepcopy(axes[key][k])
            try:
                put(tree, places, tuple(key.split(".")), value, _origin(document, key, k))
            except PathError as error:
                where = ".".join(str(part) for part in error.at)
                what = f"names nothing: {where} {error.what}"
                raise document.error(("matrix", key), what) from None
        cell = replace(document, tree=tree, places=places)
        yield cell, {key: labels[key][k] for key, k in zip(axes, chosen, strict=True)}


def texts(values: list[Any]) -> list[str]:
    """A short text for each value; parameters are shown only where names alone would collide."""
    short = [_text(value, full=False) for value in values]
    many = Counter(short)
    better = [
        _text(value, full=True) if many[text] > 1 else text
        for text, value in zip(short, values, strict=True)
    ]
    many = Counter(better)
    return [f"{text} #{k + 1}" if many[text] > 1 else text for k, text in enumerate(better)]


def _axes(document: Document) -> dict[str, list[Any]]:
    matrix = document.tree.get("matrix")
    if matrix is None:
        return {}
    if not isinstance(matrix, dict):
        raise document.error(("matrix",), f"must be a mapping of key to list; got {flow(matrix)}.")
    earlier: list[str] = []
    for key, values in matrix.items():
        where = ("matrix", key)
        if not isinstance(key, str) or not all(key.split(".")) or key.split(".")[0] == "matrix":
            raise document.error(where, "must be a key such as server.aggregator.")
        if not isinstance(values, list) or not values:
            what = f"must be a list of at least one value; got {flow(values)}."
            raise document.error(where, what)
        if any(f"{other}.".startswith(f"{key}.") for other in earlier):
            raise document.error(where, "replaces what an earlier key sets. Write it first.")
        earlier.append(key)
    _bounded(document, math.prod(len(values) for values in matrix.values()))
    return matrix


def _bounded(document: Document, cells: int) -> None:
    """Refuse a matrix that nobody could wait for, before its cells are made."""
    values = cells * sum(path[:1] != ("matrix",) for path in document.places)
    if cells > MAX_CELLS:
        what = f"must make at most {MAX_CELLS} cells; got {cells}."
    elif values > MAX_VALUES:
        what = f"must make cells of at most {MAX_VALUES} values together; got {values}."
    else:
        return
    raise document.error(("matrix",), what)


def _origin(document: Document, key: str, k: int) -> dict[Where, str]:
    """The places inside the k-th value of a matrix key."""
    root: Where = ("matrix", key, k)
    inside = {path[3:]: place for path, place in document.places.items() if path[:3] == root}
    return {(): document.place(root), **inside}


def _text(value: Any, full: bool) -> str:
    """A plug-in as its name, a pipeline with arrows; with `full`, what else is said in brackets."""
    if isinstance(value, list) and value and all(_named(item) for item in value):
        return " → ".join(_text(item, full) for item in value)
    if _named(value):
        stages, own = [value["name"].rpartition(":")[2]], {"name"}
    elif isinstance(value, dict) and _STAGES & value.keys():
        stages, own = _pipeline(value, full), _STAGES
    else:
        return flow(value)
    rest = [f"{key}={_text(item, full)}" for key, item in value.items() if key not in own]
    return " → ".join(stages) + (f"({', '.join(rest)})" if full and rest else "")


def _pipeline(server: dict[str, Any], full: bool) -> list[str]:
    server = {"preaggregators": [], "aggregator": {"name": "mean"}, "postaggregators": [], **server}
    groups = [server[key] for key in ("preaggregators", "aggregator", "postaggregators")]
    stages = itertools.chain(*(group if isinstance(group, list) else [group] for group in groups))
    return [_text(stage, full) for stage in stages]


def _named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)
