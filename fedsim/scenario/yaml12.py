"""YAML as scenarios use it: 1.2 scalars, no tags, no merge keys, every value with its place."""

import re
from collections.abc import Iterator
from itertools import count
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Where = tuple[str | int, ...]
Places = dict[Where, tuple[int, int]]
"""Path → (line, column), both from 1."""

MAX_DEPTH = 64
MAX_NODES = 50_000
MAX_TEXT = 4_000
MAX_DIGITS = 300

# Numbers are decimal. 010, 0o17, 1_000 and 12:30 stay text, and so do on, yes and dates.
_SCALARS = {
    "null": (re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "bool": (re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789")),
    "float": (
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
}
_TAG = "tag:yaml.org,2002:"


class YamlError(Exception):
    """What is wrong with a text, and at which key, line and column (from 1)."""

    def __init__(self, what: str, line: int, column: int, where: Where = ()) -> None:
        super().__init__(what)
        self.what, self.line, self.column, self.where = what, line, column, where


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with 1.2 scalars and bounds on depth and size."""

    depth = nodes = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Refuse what is too deep or too large before it is built."""
        self.depth, self.nodes = self.depth + 1, self.nodes + 1
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.depth > MAX_DEPTH:
            raise YamlError(f"is nested deeper than {MAX_DEPTH}.", mark.line + 1, mark.column + 1)
        if self.nodes > MAX_NODES:
            raise YamlError(f"has over {MAX_NODES} values.", mark.line + 1, mark.column + 1)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
for _name, (_pattern, _starts) in _SCALARS.items():
    _Loader.add_implicit_resolver(_TAG + _name, _pattern, _starts)


def read(text: str) -> tuple[Any, Places]:
    """The value of a YAML text and the (line, column) of every key in it; YamlError if bad."""
    _printable(text)
    try:
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise YamlError(_reworded(error), line, column) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        raise YamlError("is not valid YAML.", 1, 1) from None
    if node is None:
        return None, {(): (1, 1)}
    places: Places = {(): (1, 1)}
    return _build(node, (), places, count(1)), places


def flow(value: Any) -> str:
    """`value` in one line of at most 60 characters, as it could stand in YAML."""
    match value:
        case None | bool():
            text = {None: "null", True: "true", False: "false"}[value]
        case dict():
            text = "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
        case list():
            text = "[" + ", ".join(flow(item) for item in value) + "]"
        case _:
            text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _build(node: Node, where: Where, places: Places, nodes: Iterator[int]) -> Any:
    """The value of `node`; aliases are written out, so the bounds hold here once more."""
    if next(nodes) > MAX_NODES:
        raise _error(f"has over {MAX_NODES} values once its aliases are written out.", node)
    if len(where) > MAX_DEPTH:
        raise _error(f"is nested deeper than {MAX_DEPTH}, or an alias holds itself.", node)
    if isinstance(node, MappingNode) and node.tag == _TAG + "map":
        return _mapping(node, where, places, nodes)
    if isinstance(node, SequenceNode) and node.tag == _TAG + "seq":
        places.update({(*where, k): _at(item) for k, item in enumerate(node.value)})
        return [_build(item, (*where, k), places, nodes) for k, item in enumerate(node.value)]
    if isinstance(node, ScalarNode) and node.tag == _tag(node):
        return _scalar(node, where)
    raise _error(f"has the tag {node.tag.removeprefix(_TAG)}. Remove it.", node, where)


def _mapping(
    node: MappingNode, where: Where, places: Places, nodes: Iterator[int]
) -> dict[str | int, Any]:
    result: dict[str | int, Any] = {}
    for key_node, item in node.value:
        key = _key(key_node, where)
        here = (*where, key)
        if key in result:
            line, column = places[here]
            what = f"appears twice; the first is at {line}:{column}. Remove one."
            raise _error(what, key_node, here)
        places[here] = _at(key_node)
        result[key] = _build(item, here, places, nodes)
    return result


def _key(node: Node, where: Where) -> str | int:
    plain = isinstance(node, ScalarNode) and node.tag == _tag(node)
    key = _scalar(node, where) if plain else None
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise _error("has a key that is neither text nor a whole number.", node, where)
    if key == "<<":
        raise _error("merge keys are not supported. Write the keys out.", node, (*where, key))
    return key


def _tag(node: ScalarNode) -> str:
    """The tag that the text has by itself."""
    if node.style is not None:
        return _TAG + "str"
    found = (name for name, (pattern, _) in _SCALARS.items() if pattern.match(node.value))
    return _TAG + next(found, "str")


def _scalar(node: Node, where: Where) -> str | int | float | bool | None:
    text = node.value
    if len(text) > MAX_TEXT:
        raise _error(f"is a text of more than {MAX_TEXT} characters.", node, where)
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return str(text).lower() == "true"
        case "int" | "float" if len(text) > MAX_DIGITS:
            raise _error(f"is a number of more than {MAX_DIGITS} characters.", node, where)
        case "int":
            return int(text)
        case "float":
            return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
    if any(0xD800 <= ord(c) <= 0xDFFF for c in text):
        raise _error("is not text: it holds half of a surrogate pair.", node, where)
    return str(text)


def _at(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _error(what: str, node: Node, where: Where = ()) -> YamlError:
    return YamlError(what, *_at(node), where)


def _printable(text: str) -> None:
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found:
        before = text[: found.start()]
        column = found.start() - (before.rfind("\n") + 1) + 1
        what = f"has the control character {ord(found.group()):#04x}. Remove it."
        raise YamlError(what, before.count("\n") + 1, column)


def _reworded(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "is not valid YAML"
    if "'\\t'" in problem:
        return "is indented with a tab. Use spaces."
    if "expected a single document" in f"{error.context}":
        return "holds more than one document. Keep one scenario to a file."
    return f"is not valid YAML: {problem}."
