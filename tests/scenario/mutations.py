"""Ways to spoil a scenario: as bytes, as text, as a tree of values."""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import yaml
from hypothesis import strategies as st

from fedsim.scenario.yaml12 import flow

WORDS = ["name", "lr", "server", "mean", "each", "rounds", "auto", "digits", "x", "", "a.b", "0"]
HUGE = [10**18, -(2**63), 2**63, 10**299, 1e308, -1e308, 5e-324, float("inf"), float("nan")]
TEXTS = ["1", "true", "nan", ".inf", "~", "../x", "a\0b", "\ufeff", "x" * 5000, "x.py:f", "é", "\n"]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.floats(),
    st.sampled_from([*HUGE, *WORDS, *TEXTS]),
    st.text(max_size=5),
)
keys = st.sampled_from(WORDS) | st.text(max_size=3) | st.integers(0, 3)
junk = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=4,
)

PIECES = [
    *"\t\n\r\0:-[]{}&*!|>%@`'\"#,?~\x07\x85\u2028\ufeff\ud800é",
    *("\r\n", "- ", ": ", "? ", "---\n", "...\n", "--- ", "&a ", "*a", "<<: *a\n", "|\n", ">-\n"),
    *("!!str ", "!!python/object/apply:os.system [ls]", "!<x> ", "%YAML 1.1\n---\n", "\\x00"),
    *(".nan", "-.inf", "1e999", "9" * 400, "0x1F", "1_000", "12:30", "yes", "null", "2026-01-01"),
    *(
        "[" * 80,
        "{a: " * 80,
        "- " * 80,
        "x" * 5000,
        '"\\ud800"',
        "name: ",
        "matrix: {seed: [0, 1]}\n",
    ),
]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp500", "utf-7"]


def paths(tree: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in `tree`, its own, (), first."""
    yield here
    items = list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in tree.items() if isinstance(tree, dict) else items:
        yield from paths(value, (*here, key))


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    """The value at `path`."""
    for part in path:
        tree = tree[part]
    return tree


def nested(value: Any, depth: int) -> Any:
    """`value` inside of `depth` lists."""
    for _ in range(depth):
        value = [value]
    return value


WRAPS: list[Callable[[Any], Any]] = [
    lambda value: [value],
    lambda value: [value, value],
    lambda value: {"name": value},
    lambda value: nested(value, 70),
    lambda value: value[0] if isinstance(value, list) and value else {},
    lambda value: flow(value),
    lambda value: -value if isinstance(value, int | float) else None,
    lambda value: value * 1e300 if isinstance(value, float) else [],
    lambda value: float(value) if isinstance(value, int) and abs(value) < 1e9 else True,
]


def _spoil(draw: st.DrawFn, tree: Any, every: list[tuple[Any, ...]]) -> None:
    path = draw(st.sampled_from(every))
    node, last = at(tree, path[:-1]), path[-1]
    match draw(st.sampled_from(["replace", "remove", "rename", "add", "wrap", "move"])):
        case "replace":
            node[last] = draw(junk)
        case "remove":
            del node[last]
        case "rename" if isinstance(node, dict):
            node[draw(keys)] = node.pop(last)
        case "add" if isinstance(node, dict):
            node[draw(keys)] = draw(junk)
        case "wrap":
            node[last] = draw(st.sampled_from(WRAPS))(node[last])
        case "move":
            node[last] = copy.deepcopy(at(tree, draw(st.sampled_from(every))))
        case _:  # of a list
            node.insert(last, copy.deepcopy(node[last]))


@st.composite
def spoilt_trees(draw: st.DrawFn, trees: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """A tree with one to three values removed, renamed, repeated, moved, wrapped or replaced."""
    tree = copy.deepcopy(draw(trees))
    for _ in range(draw(st.integers(1, 3))):
        every = [path for path in paths(tree) if path]
        if not every:
            return tree
        _spoil(draw, tree, every)
    return tree


@st.composite
def as_yaml(draw: st.DrawFn, tree: Any) -> str:
    """`tree` as YAML in one of its styles; equal parts may be anchors and aliases."""
    if draw(st.booleans()):  # one object in two places is written as an alias
        parts = [at(tree, path) for path in paths(tree) if path]
        whole = [part for part in parts if isinstance(part, dict | list) and part]
        if whole:
            tree = {**tree, draw(keys): draw(st.sampled_from(whole))}
    style = draw(st.sampled_from([None, True, False]))
    width = draw(st.sampled_from([20, 100, 10**6]))
    text: str = yaml.safe_dump(tree, default_flow_style=style, width=width, sort_keys=False)
    return text


@st.composite
def spoilt_texts(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> bytes:
    """A text cut, mixed and stuffed at one to four places, in some encoding."""
    text = draw(texts)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 3) | st.integers(0, 200)))
        match draw(st.sampled_from(["put", "put", "cut", "repeat", "lines", "join"])):
            case "put":
                text = text[:start] + draw(st.sampled_from(PIECES)) + text[end:]
            case "cut":
                text = text[:start] + text[end:]
            case "repeat":
                there = draw(st.integers(0, len(text)))
                text = text[:there] + text[start:end] + text[there:]
            case "lines":
                text = draw(st.sampled_from(["\r\n", "\r", "\n\n", "\x85"])).join(text.split("\n"))
            case "join":
                text = text[:start] + text[start:].replace(
                    "\n", draw(st.sampled_from(["", " "])), 1
                )
    return encoded(text, draw(st.sampled_from(["utf-8"] * 12 + ENCODINGS)))


def encoded(text: str, encoding: str) -> bytes:
    """`text` in `encoding`, half surrogates included where it has them."""
    if encoding.startswith("utf") and encoding != "utf-7":
        plain, sign, form = encoding.partition("-sig")
        return (b"\xef\xbb\xbf" if sign else b"") + text.encode(plain + form, "surrogatepass")
    return text.encode(encoding, "replace")


@st.composite
def spoilt_bytes(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some are flipped, left out or put in."""
    content = bytearray(draw(contents))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(content)))
        content[start : start + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(content)
