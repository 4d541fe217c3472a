"""Whatever stands in a scenario, it loads or says in one line why not."""

import copy
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.errors import ScenarioError
from fedsim.scenario import load
from fedsim.scenario.yaml12 import read
from tests.scenario.scenario_texts import FULL, MINIMAL, minimal

FULL_TREE = {**read(FULL)[0], "matrix": {"seed": [0, 1], "server.aggregator": [{"name": "mean"}]}}
WORDS = ["name", "lr", "server", "mean", "each", "rounds", "auto", "digits", "x", "", "a.b", "0"]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 200),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=5),
)
junk = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=4,
)


def loads_or_says_why(source, overrides=()):
    line, cells = "", []
    try:
        cells = load(source, overrides)
    except ScenarioError as error:
        line = str(error)
    assert bool(line) != bool(cells)
    assert line.isprintable()
    assert len(line) < 1000
    for cell in cells[:3]:
        assert load(cell.scenario)[0].scenario == cell.scenario


def paths(tree, here=()):
    yield here
    items = list(enumerate(tree)) if isinstance(tree, list) else []
    for key, value in tree.items() if isinstance(tree, dict) else items:
        yield from paths(value, (*here, key))


def mutate(tree, path, key, value, kind):
    """The tree with the value at `path` replaced, removed, renamed or given a sibling."""
    tree = copy.deepcopy(tree)
    node = tree
    for part in path[:-1]:
        node = node[part]
    last = path[-1]
    if kind == "replace" or isinstance(node, list):
        node[last] = value
    elif kind == "add":
        node[key] = value
    else:
        old = node.pop(last)
        if kind == "rename":
            node[key] = old
    return tree


KINDS = st.sampled_from(["replace", "add", "remove", "rename"])
keys = st.sampled_from(WORDS) | st.text(max_size=3) | st.integers(0, 3)


@settings(max_examples=250)
@given(st.data())
def test_mutated_mappings(data):
    tree = data.draw(st.sampled_from([FULL_TREE, minimal(adversary={"fraction": 0.1})]))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path in paths(tree) if path]))
        tree = mutate(tree, path, data.draw(keys), data.draw(junk), data.draw(KINDS))
        if not any(paths(tree)):
            break
    loads_or_says_why(tree)


@settings(max_examples=200)
@given(data=st.data())
def test_mutated_texts(data, tmp_path_factory):
    text = data.draw(st.sampled_from([MINIMAL, MINIMAL + "server: {lr: {1: 1.0}}\n"]))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text)))
        new = data.draw(st.sampled_from([*"\t\n\0:-[]{}&*!|>%@`'\"#,? 19e.~\x85\u2028\ud800"]))
        cut = data.draw(st.integers(0, 3))
        text = text[:at] + new + text[at + cut :]
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    loads_or_says_why(file)


@settings(max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(content)
    loads_or_says_why(file)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([".".join(map(str, path)) for path in paths(FULL_TREE)]), max_size=2),
    st.text(string.printable, max_size=6) | st.sampled_from(["[]", "{}", "1", "{name: mean}"]),
)
def test_any_override(keys, value):
    loads_or_says_why(FULL_TREE, [f"{key}={value}" for key in keys] or [value])


@given(junk)
def test_any_server(value):
    loads_or_says_why(minimal(server=value))
