"""`fedsim new`: what it writes loads, keeps the laws, and has a test that can fail."""

import sys
from pathlib import Path

import pytest
import yaml

from fedsim.cli.new import TEMPLATES
from fedsim.scenario import load

KINDS = sorted(TEMPLATES)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder to work in, modules of which can be imported while the test lasts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def functions_of(path):
    """The tests in the file `path` by their names."""
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    try:
        space = {}
        exec(compile(Path(path).read_text(), path, "exec"), space)
    finally:
        sys.dont_write_bytecode = kept
    return {name: one for name, one in space.items() if name.startswith("test_")}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_keeps_the_laws_and_passes_its_test(cli, kind):
    result = cli("new", kind, "mine")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == "mine.py\ntest_mine.py\n"
    assert sorted(path.name for path in Path().iterdir()) == ["mine.py", "test_mine.py"]
    tests = functions_of("test_mine.py")
    assert sorted(tests) == ["test_an_example_worked_out_by_hand", "test_it_keeps_the_laws"]
    for test in tests.values():
        test()


@pytest.mark.parametrize(
    ("kind", "right", "wrong", "fails"),
    [
        ("rule", "distance.argsort(", "(-distance).argsort(", "test_an_example_worked_out_by_hand"),
        ("rule", "1 / len(nearest))", "-1.0)", "test_it_keeps_the_laws"),
        ("attack", "-factor * ", "factor * ", "test_an_example_worked_out_by_hand"),
        ("attack", "view.own.mean(", "view.own.mul_(2).mean(", "test_it_keeps_the_laws"),
    ],
)
def test_its_test_tells_a_broken_one(cli, kind, right, wrong, fails):
    cli("new", kind, "mine")
    text = Path("mine.py").read_text()
    assert text.count(right) == 1
    Path("mine.py").write_text(text.replace(right, wrong))
    test = functions_of("test_mine.py")[fails]
    with pytest.raises(AssertionError):
        test()


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_next_is_so(cli, kind):
    said = cli("new", kind, "mine").stdout.splitlines()
    assert said[1] == "Its test: python -m pytest test_mine.py"
    tree = yaml.safe_load(said[0].removeprefix("In a scenario beside it: "))
    chosen = {"rule": ("server", "aggregator"), "attack": ("adversary", "attack")}[kind]
    assert tree == {chosen[0]: {chosen[1]: {"name": "mine.py:mine"}}}
    tree.setdefault("adversary", {})["clients"] = 1
    training = {"epochs": 1, "lr": 0.1}
    clients = {"total": 4, "per_round": 2, "training": training}
    rest = {"name": "a", "rounds": 1, "model": {"name": "mlp"}, "clients": clients}
    Path("a.yaml").write_text(yaml.safe_dump({**rest, **tree}))
    (cell,) = load(Path("a.yaml"))
    section = getattr(cell.scenario, chosen[0])
    choices = getattr(section, chosen[1])
    choice = choices[0] if isinstance(choices, list) else choices
    assert choice.name.endswith("mine.py:mine")
    assert set(choice.parameters) == {"keep" if kind == "rule" else "factor"}


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_short(cli, kind):
    cli("new", kind, "mine")
    lines = Path("mine.py").read_text().splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("def "))
    assert len(lines[start:]) <= 10
    lines += Path("test_mine.py").read_text().splitlines()
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize("there", ["mine.py", "test_mine.py"])
def test_nothing_is_overwritten(cli, there):
    Path(there).write_text("kept")
    result = cli("new", "rule", "mine")
    assert result.exit_code == 2
    assert result.stderr == f"{there}: is there already. Choose another name.\n"
    assert [path.name for path in Path().iterdir()] == [there]
    assert Path(there).read_text() == "kept"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("rule", "my-rule"), "NAME: 'my-rule' cannot be the name of a function in Python."),
        (("rule", "../mine"), "NAME: '../mine' cannot be the name of a function in Python."),
        (("rule", "lambda"), "NAME: 'lambda' cannot be the name of a function in Python."),
        (("rule", "règle"), "NAME: 'règle' cannot be the name of a function in Python."),
        (("rule", "_mine"), "NAME: '_mine' would be taken for private, or for a test."),
        (("rule", "testing"), "NAME: 'testing' would be taken for private, or for a test."),
        (("rule", "median"), "NAME: 'median' is one of the aggregators already."),
        (("rule", "boost"), "NAME: 'boost' is one of the attacks already."),
        (("attack", "torch"), "NAME: 'torch' is a Python module."),
        (("attack", "wave"), "NAME: 'wave' is a Python module."),
        (("attack", "own"), "NAME: 'own' is what its test calls the rows."),
        (("attac", "mine"), "kind: 'attac' is not one of 'rule', 'attack'."),
        (("rule",), "Missing argument 'NAME'."),
    ],
)
def test_names_that_are_refused(cli, arguments, line):
    result = cli("new", *arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"fedsim new: {line}")
    assert result.stderr.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_link_to_nowhere_is_there_already(cli):
    Path("test_mine.py").symlink_to("nowhere/test_mine.py")
    result = cli("new", "rule", "mine")
    assert result.exit_code == 2
    assert result.stderr == "test_mine.py: is there already. Choose another name.\n"
    assert [path.name for path in Path().iterdir()] == ["test_mine.py"]


def test_a_file_that_cannot_be_written(cli):
    name = "m" * 300
    result = cli("new", "rule", name)
    assert result.exit_code == 2
    assert result.stderr == f"{name}.py: cannot be written: File name too long.\n"
