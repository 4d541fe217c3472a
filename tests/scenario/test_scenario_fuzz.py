"""Whatever stands in a scenario, it loads as it says, or one line tells why not, and where.

2,000 cases: every scenario of the project, spoilt as a tree, as text and as bytes.
"""

import re
import string
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim.cli import main
from fedsim.errors import ScenarioError
from fedsim.results.store import to_yaml
from fedsim.scenario import load
from fedsim.scenario.yaml12 import read
from tests.scenario.mutations import (
    ENCODINGS,
    as_yaml,
    junk,
    paths,
    spoilt_bytes,
    spoilt_texts,
    spoilt_trees,
)
from tests.scenario.scenario_texts import FULL, MINIMAL, minimal

FOLDER = Path(__file__).parents[2] / "scenarios"
REAL = [path.read_text() for path in sorted(FOLDER.rglob("*.yaml"))]
FULL_TREE = {**read(FULL)[0], "matrix": {"seed": [0, 1], "server.aggregator": [{"name": "mean"}]}}

texts = st.sampled_from([*REAL, MINIMAL, FULL])
trees = texts.map(lambda text: read(text)[0]) | st.just(FULL_TREE)
contents = texts.map(str.encode)


def holds(resolved: Any, said: Any) -> bool:
    """Whether the resolved scenario says whatever the user said; defaults only add to it."""
    match said:
        case dict() if isinstance(resolved, dict):
            every = said.items()
            return all(item is None or holds(resolved.get(key), item) for key, item in every)
        case dict() if isinstance(resolved, list):  # one attack, a list of one
            return len(resolved) == 1 and holds(resolved[0], said)
        case []:  # an empty list says nothing; checks are left out where there are none
            return not resolved
        case list():
            pairs = zip(resolved, said, strict=False)
            return len(resolved) == len(said) and all(holds(*pair) for pair in pairs)
        case bool():
            return resolved is said
        case str() if ".py:" in said:
            return str(resolved).endswith(Path(said).name)
    return bool(resolved == said) and type(resolved) is not bool


def loads_or_says_why(source, overrides=()):
    line, cells = "", []
    try:
        cells = load(source, overrides)
    except ScenarioError as error:
        line = str(error)
    assert bool(line) != bool(cells)
    assert line.isprintable()
    assert len(line) < 1000
    if line and isinstance(source, Path) and not overrides:
        assert re.match(rf"{source}:\d+:\d+: \S.*: \S", line), line
    for cell in cells[:2]:
        assert holds(cell.scenario.resolved(), cell.source.tree)
        assert load(cell.scenario)[0].scenario == cell.scenario
        again = load(read(to_yaml(cell.scenario.resolved()))[0])[0].scenario
        assert again == cell.scenario
        assert again.hash8 == cell.scenario.hash8


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "fuzz.yaml"


@pytest.mark.parametrize("text", [*REAL, MINIMAL, FULL])
def test_what_is_spoilt_was_good(file, text):
    """Else the mutations would only ever find what is wrong already."""
    file.write_text(text)
    loads_or_says_why(file)
    assert load(file)


@settings(max_examples=500)
@given(tree=spoilt_trees(trees))
def test_spoilt_mappings(tree):
    loads_or_says_why(tree)


@settings(max_examples=500)
@given(data=st.data())
def test_spoilt_trees_in_files(data, file):
    text = data.draw(as_yaml(data.draw(spoilt_trees(trees))))
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    loads_or_says_why(file)


@settings(max_examples=500)
@given(content=spoilt_texts(texts))
def test_spoilt_texts(content, file):
    file.write_bytes(content)
    loads_or_says_why(file)


@settings(max_examples=250)
@given(content=spoilt_bytes(contents) | st.binary(max_size=60))
def test_spoilt_bytes(content, file):
    file.write_bytes(content)
    loads_or_says_why(file)


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from([".".join(map(str, path)) for path in paths(FULL_TREE)]), max_size=2),
    st.text(string.printable, max_size=6) | st.sampled_from(["[]", "{}", "1", "{name: mean}"]),
)
def test_any_override(keys, value):
    loads_or_says_why(FULL_TREE, [f"{key}={value}" for key in keys] or [value])


@settings(max_examples=50)
@given(junk)
def test_any_server(value):
    loads_or_says_why(minimal(server=value))


def bomb(depth):
    """Nine times nine times nine …: a few lines that would be 9^depth values."""
    lines = [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, depth)]
    return "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *lines])


HOSTILE = {
    "a bomb of aliases": bomb(20),
    "a bomb after a scenario": MINIMAL + bomb(9),
    "an alias to itself": MINIMAL + "server: &s {aggregator: *s}",
    "ten thousand lists": MINIMAL + "seed: " + "[" * 10_000 + "]" * 10_000,
    "ten thousand mappings": MINIMAL + "seed: " + "{a: " * 10_000 + "}" * 10_000,
    "a thousand levels of indentation": "".join(" " * k + "a:\n" for k in range(1_000)),
    "ten thousand dashes": "- " * 10_000 + "x",
    "ten megabytes": MINIMAL + "#" * 10_000_000,
    "ten megabytes of keys": "".join(f"key{k}: {k}\n" for k in range(700_000)),
    "a line of nine hundred thousand": MINIMAL + "seed: " + "9" * 900_000,
    "an open quote": MINIMAL + 'seed: "' + "\\n" * 100_000,
    "a key too long": MINIMAL + '"' + "k" * 3_000 + '": 1',
    "thousands of unknown keys": MINIMAL + "".join(f"k{k}: 1\n" for k in range(2_000)),
    "thousands of attackers, the last twice": MINIMAL.replace("100", "9000")
    + f"adversary: {{clients: {[*range(8_000), 7_999]}}}",
    "cells without end": MINIMAL + f"matrix: {{seed: {[*range(200)]}, rounds: {[*range(1, 200)]}}}",
    "large cells without end": MINIMAL.replace("60", "9000")
    + f"adversary: {{clients: 1, schedule: {{rounds: {[*range(1, 3_000)]}}}}}\n"
    + f"matrix: {{seed: {[*range(1_000)]}}}",
    "a device": "!!python/object/apply:os.system [exit 1]",
    **{f"in {form}": MINIMAL.replace("name: a", "name: é").encode(form) for form in ENCODINGS},
}
del HOSTILE["in utf-8-sig"]  # is UTF-8


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_would_exhaust_a_reader_is_one_line_and_exit_2(content, tmp_path):
    file = tmp_path / "hostile.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    loads_or_says_why(file)
    for command in ("validate", "run"):
        done = CliRunner().invoke(main, [command, str(file)])
        assert done.exit_code == 2
        assert re.fullmatch(rf"{file}:\d+:\d+: \S.*\n", done.stderr)


@settings(max_examples=30)
@given(content=spoilt_texts(texts))
def test_the_command_says_what_the_loader_says(content, file):
    file.write_bytes(content)
    try:
        load(file)
        expected = 0, ""
    except ScenarioError as error:
        expected = 2, f"{error}\n"
    done = CliRunner().invoke(main, ["validate", str(file)])
    assert (done.exit_code, done.stderr) == expected
