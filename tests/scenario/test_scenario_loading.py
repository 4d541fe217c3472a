"""YAML 1.2 scalars, aliases, overrides and sources."""

import pickle

import pytest

from fedsim.errors import FedsimError, ScenarioError
from fedsim.scenario import document, load
from fedsim.scenario.yaml12 import flow, read
from tests.scenario.scenario_texts import MINIMAL, minimal


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E4", 50000.0),
        ("1.", 1.0),
        (".5", 0.5),
        ("-0.5", -0.5),
        ("+3", 3),
        ("0", 0),
        ("-0", 0),
        (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("Null ", None),
        ("0o17", "0o17"),
        ("017", "017"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("1e3.5", "1e3.5"),
        (".", "."),
        ("e3", "e3"),
        ("nan", "nan"),
        ("=", "="),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n 5\n", "5\n"),
    ],
)
def test_scalars(text, value):
    found = read(f"- {text}")[0]
    assert found == [value]
    assert type(found[0]) is type(value)


def test_not_a_number():
    assert str(read("[.nan]")[0]) == "[nan]"


def test_on_is_a_key():
    assert read("{on: mean, yes: 1, 3: x}")[0] == {"on": "mean", "yes": 1, 3: "x"}


def test_every_key_and_item_has_its_place():
    places = read("a:\n  - b: 1\n  - {c: [x, y]}\n")[1]
    assert places == {
        (): (1, 1),
        ("a",): (1, 1),
        ("a", 0): (2, 5),
        ("a", 0, "b"): (2, 5),
        ("a", 1): (3, 5),
        ("a", 1, "c"): (3, 6),
        ("a", 1, "c", 0): (3, 10),
        ("a", 1, "c", 1): (3, 13),
    }


def test_aliases_are_written_out(folder):
    training = "{lr: 0.1, momentum: 0.5}"
    text = MINIMAL.replace("{lr: 0.1}", f"&same {training}")
    (folder / "a.yaml").write_text(text + "adversary: {clients: 1, training: *same}")
    scenario = load("a.yaml")[0].scenario
    assert scenario.adversary.training.momentum == 0.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.001, "0.001"),
        ("a b", "a b"),
        ({"a": [1, None]}, "{a: [1, null]}"),
        (["x" * 80], "[" + "x" * 56 + "..."),
    ],
)
def test_values_in_one_line(value, text):
    assert flow(value) == text


def test_a_byte_order_mark_is_no_key(folder):
    (folder / "a.yaml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load("a.yaml")[0].scenario.name == "a"


def test_a_path_or_a_text_names_the_file(folder):
    (folder / "a.yaml").write_text(MINIMAL)
    assert load(folder / "a.yaml") == load(str(folder / "a.yaml"))


def test_overrides_are_applied_in_order():
    changed = load(
        minimal(),
        [
            "seed=1",
            "seed=2",
            "server.lr.1=2.0",
            "server.lr.3=5e-1",
            "server.preaggregators=[{name: clip, norm: 3}]",
            "server.preaggregators.0.norm=median",
            "adversary.attack.name=boost",
            "adversary.attack.factor=auto",
            "adversary.clients=[1, 2]",
            "clients.timeout=null",
        ],
    )[0].scenario
    assert changed.seed == 2
    assert changed.server.lr == {1: 2.0, 3: 0.5}
    assert changed.server.preaggregators[0].parameters["norm"] == "median"
    assert changed.adversary.attack[0].parameters["factor"] == "auto"
    assert changed.adversary.clients == [1, 2]


def test_overrides_given_as_a_mapping_or_one_text():
    wanted = load(minimal(seed=3))[0].scenario
    assert load(minimal(), {"seed": 3})[0].scenario == wanted
    assert load(minimal(), "seed=3")[0].scenario == wanted


def test_overrides_leave_the_source_alone():
    given = minimal(server={"lr": {1: 1.0}})
    load(given, ["server.lr.5=0.1", "clients.total=200"])
    assert given == minimal(server={"lr": {1: 1.0}})


def test_a_rule_of_the_user_is_beside_the_file_or_below_the_working_folder(folder):
    rule = "def rule(updates, *, x: float = 1.0):\n    return updates.mean(0)\n"
    (folder / "deep").mkdir()
    (folder / "deep" / "near.py").write_text(rule)
    (folder / "here.py").write_text(rule)
    text = MINIMAL + "server: {aggregator: {name: near.py:rule, x: 2}}"
    (folder / "deep" / "a.yaml").write_text(text)

    def rule_of(*overrides):
        return load("deep/a.yaml", overrides)[0].scenario.server.aggregator.config()

    assert rule_of() == {"name": f"{folder}/deep/near.py:rule", "x": 2.0}
    here = {"name": f"{folder}/here.py:rule", "x": 1.0}
    assert rule_of("server.aggregator.name=here.py:rule", "server.aggregator.x=1") == here
    assert rule_of("server.aggregator={name: here.py:rule}") == here
    (cell,) = load("deep/a.yaml", ["matrix.server.aggregator=[{name: here.py:rule}]"])
    assert cell.scenario.server.aggregator.config() == here
    (cell,) = load("deep/a.yaml", ["matrix.server.aggregator.name=['here.py:rule']"])
    assert cell.scenario.server.aggregator.config() == {**here, "x": 2.0}


def test_a_scenario_loads_as_itself():
    scenario = load(minimal())[0].scenario
    assert load(scenario)[0].scenario == scenario
    changed = load(scenario, ["seed=5"])[0]
    assert changed.scenario == load(minimal(seed=5))[0].scenario
    assert str(changed.error(("rounds",), "no.")) == "scenario: rounds: no."


def test_a_cell_travels_to_another_process():
    cell = load(minimal(adversary={"clients": 2}))[0]
    assert pickle.loads(pickle.dumps(cell)) == cell


def test_a_document_keeps_the_raw_tree(folder):
    (folder / "a.yaml").write_text(MINIMAL + "matrix: {seed: [0, 1]}")
    raw = document("a.yaml")
    assert raw.tree["matrix"] == {"seed": [0, 1]}
    assert raw.place(("matrix", "seed", 1)) == "a.yaml:8:20"
    assert raw.folder == folder


def test_long_lines_are_cut(refused):
    line = refused(MINIMAL + f"server: {{aggregator: {{name: {'x' * 3000}}}}}")
    assert len(line) < 600
    assert line.endswith("...")


def test_a_parameter_that_cannot_be_written_down(refused, folder):
    code = "def rule(updates, *, x=[1, {'a': None}], y=print):\n    return updates"
    (folder / "mine.py").write_text(code)
    text = MINIMAL + "server: {aggregator: {name: mine.py:rule}}"
    line = "must be plain values; got builtin_function_or_method."
    assert refused(text) == f"a.yaml:8:10: server.aggregator: {line}"
    assert load("a.yaml", ["server.aggregator.y=.nan"])[0].scenario.hash8


def test_a_file_that_cannot_be_used_is_an_error_of_the_user(folder):
    (folder / "mine.py").write_text("def rule(updates, *, x: 'Nowhere'): ...")
    with pytest.raises(FedsimError, match=r"^scenario: .*Nowhere"):
        load(minimal(server={"aggregator": {"name": "mine.py:rule"}}))
    with pytest.raises(ScenarioError):
        load(minimal(server={"aggregator": {"name": f"{'x' * 300}.py:rule"}}))
