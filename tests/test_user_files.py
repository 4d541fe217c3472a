"""Whatever a user's file does when it is read, one line says so at its name in the scenario."""

import pickle
import re

import pytest
from click.testing import CliRunner

from fedsim.aggregators import aggregators
from fedsim.cli import main
from fedsim.datasets import default_source
from fedsim.errors import RunError
from fedsim.execution import Settings, play
from fedsim.progress import Silence
from fedsim.scenario import load

SCENARIO = """\
name: own
rounds: 1
model: {name: mlp, hidden: [2]}
clients: {total: 3, per_round: 3, training: {lr: 0.1, batch_size: 512}}
server: {aggregator: {name: own.py:rule}}
"""
GOOD = "def rule(updates):\n    return updates.mean(dim=0)\n"
USE = "from fedsim.aggregators import aggregators\n"
BAD = {  # the file → what the line says of it
    "syntax": ("def rule(updates:\n", r"SyntaxError: '\(' was never closed \(own\.py, line 1\)"),
    "indentation": ("def rule(updates):\nreturn 1\n", r"IndentationError: .*line 2"),
    "import": (
        "import nowhere_at_all\n" + GOOD,
        "ModuleNotFoundError: No module named 'nowhere_at",
    ),
    "error": (GOOD + "1 / 0\n", "ZeroDivisionError: division by zero"),
    "two lines": (GOOD + "raise ValueError('a\\nb')\n", r"ValueError: a\\nb"),
    "exit": (GOOD + "import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "quiet exit": (GOOD + "exit()\n", "SystemExit"),
    "generator exit": (GOOD + "raise GeneratorExit\n", "GeneratorExit"),
    "no exception": (GOOD + "class Odd(BaseException): ...\nraise Odd('x')\n", "Odd: x"),
    "recursion": ("def rule(updates):\n    rule(updates)\nrule(1)\n", "RecursionError"),
    "not UTF-8": (b"text = '\xe9'\n" + GOOD.encode(), "SyntaxError: .*codec can't decode byte"),
    "UTF-16": (GOOD.encode("utf-16"), "SyntaxError: source code string cannot contain null bytes"),
    "NUL": (GOOD + "\0", "SyntaxError: source code string cannot contain null bytes"),
    "encoding": ("# coding: nonsense\n" + GOOD, "SyntaxError: unknown encoding: nonsense"),
    "deep": (GOOD + "x = " + "(" * 1000 + ")" * 1000, "SyntaxError: too many nested parentheses"),
    "empty": ("", "has no function 'rule'"),
    "another name": ("def ruel(updates): ...\n", "has no function 'rule'"),
    "a number": ("rule = 3\n", "has no function 'rule'"),
    "a class": ("class rule:\n    def __init__(self, updates): ...\n", "has no function 'rule'"),
    "built in": ("rule = len\n", "has no function 'rule'"),
    "getattr": ("def __getattr__(name): raise RuntimeError\n", "has no function 'rule'"),
    "nothing left": ("def d(f): ...\n@d\n" + GOOD, "has no function 'rule'"),
    "no arguments": ("def rule(): ...\n", r"must be a function \(updates\) → .*; got \(\)"),
    "three arguments": ("def rule(a, b, c): ...\n", r"must be a function .*; got \(a, b, c\)"),
    "loose arguments": ("def rule(*all): ...\n", r"must be a function .*; got \(\)"),
    "async": ("async " + GOOD, "must be a plain function, neither async nor a generator"),
    "generator": ("def rule(updates):\n    yield\n", "neither async nor a generator"),
    "called decorator": (
        USE + "@aggregators.statistic()\n" + GOOD,
        "cannot be imported: ",
    ),
    "no such decorator": (
        USE + "@aggregators.statistics\n" + GOOD,
        "has no attribute 'statistics'",
    ),
    "decorated number": (USE + GOOD + "aggregators.statistic(3)\n", "cannot be imported: "),
    "another kind": (
        "from fedsim.attacks import attacks\n@attacks.register\n" + GOOD,
        "'rule' is declared as one of the attacks",
    ),
    "a name taken": (
        USE + "@aggregators.statistic\ndef mean(updates): ...\n" + GOOD,
        "'mean' is registered twice",
    ),
    "unknown type": (
        "def rule(updates, *, k: 'nothing' = 1): ...\n",
        "name 'nothing' is not defined",
    ),
    "no type": ("def rule(updates, *, k: 'list[' = 1): ...\n", "its parameters cannot be read"),
    "a number as type": ("def rule(updates, *, k: 3 = 1): ...\n", "its parameters cannot be read"),
    "a parameter name": (
        "def rule(updates, *, name=1): ...\n",
        "parameter cannot be called 'name'",
    ),
}
DEFAULTS = {
    "'a'": "int = 'a'", "1": "int = 0.5", "nan": "float = float('nan')", "object": "object = object()",
}  # fmt: skip


@pytest.fixture
def refused(tmp_path, monkeypatch):
    """The one line that refuses a file of the user."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(SCENARIO)

    def line(content):
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "own.py").write_bytes(data)
        done = CliRunner().invoke(main, ["run", "own.yaml"])
        assert done.exit_code == 2, done.stderr
        assert done.stderr.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["own.py", "own.yaml"]
        return done.stderr

    return line


@pytest.mark.parametrize(("content", "told"), BAD.values(), ids=BAD)
def test_a_bad_file_is_one_line_at_its_name(refused, content, told):
    assert re.search(
        rf"^own\.yaml:5:23: server\.aggregator\.name: /.*own\.py.*{told}", refused(content)
    )


@pytest.mark.parametrize("default", DEFAULTS.values(), ids=DEFAULTS)
def test_a_default_that_its_own_type_refuses(refused, default):
    """Else the run folder would hold a scenario that does not load."""
    line = refused(f"def rule(updates, *, k: {default}):\n    return updates.mean(dim=0)\n")
    assert line.startswith("own.yaml:5:10: server.aggregator")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("../nowhere/own.py:rule", "is not a file"),
        ("/etc/passwd.py:rule", "is not a file"),
        ("'own.py:'", "has no function ''"),
        ("own.py:__builtins__", "has no function '__builtins__'"),
        ("own.py:a.b", "has no function 'a.b'"),
        ("x" * 300 + ".py:rule", "is not a file"),
        ('"a\\0b.py:rule"', "is not a file"),
        ("loop.py:rule", "is not a file"),
        ("folder.py:rule", "is not a file"),
        ("own.py", "unknown aggregator 'own.py'"),
    ],
)
def test_a_name_that_leads_to_no_function(tmp_path, monkeypatch, name, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(GOOD)
    (tmp_path / "loop.py").symlink_to("loop.py")
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "own.yaml").write_text(SCENARIO.replace("own.py:rule", name))
    done = CliRunner().invoke(main, ["validate", "own.yaml"])
    assert done.exit_code == 2
    assert re.fullmatch(rf"own\.yaml:5:23: server\.aggregator\.name: .*{told}.*\n", done.stderr)


def test_what_is_run_is_what_was_hashed(tmp_path):
    """An edit within a second that keeps the size would be missed by Python's own cache."""
    file = tmp_path / "own.py"
    found = []
    for value in (1, 2):
        file.write_text(f"def rule(updates):\n    return {value}\n# {tmp_path}\n")
        found.append(aggregators.get(f"{file}:rule").function(None))
    assert found == [1, 2]
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_file_that_changes_while_its_cells_are_played_is_not_run_under_its_old_hash(tmp_path):
    path = tmp_path / "late.py"
    path.write_text("def rule(updates):\n    return updates.mean(dim=0)\n")
    tree = {
        "name": "late",
        "rounds": 1,
        "model": {"name": "mlp", "hidden": [2]},
        "clients": {"total": 2, "per_round": 2, "training": {"lr": 0.1, "batch_size": 64}},
        "server": {"aggregator": {"name": f"{path}:rule"}},
    }
    [cell] = load(tree)
    sent = pickle.dumps(cell)  # as to a process of a sweep
    settings = Settings(tmp_path / "runs", default_source())
    path.write_text("def rule(updates):\n    return updates.median(dim=0).values\n")
    with pytest.raises(RunError, match=r"late\.py: was changed while"):
        play(pickle.loads(sent), settings, Silence())
    assert not (tmp_path / "runs").exists()
    finished = play(cell, settings, Silence())  # here the old rule is still at hand
    path.write_text("def rule(updates):\n    return updates.mean(dim=0)\n")
    assert play(pickle.loads(sent), settings, Silence()).summary == finished.summary


def test_a_rule_that_exits_in_a_run_is_told(tmp_path):
    (tmp_path / "own.py").write_text("def rule(updates):\n    raise SystemExit(0)\n")
    (tmp_path / "own.yaml").write_text(SCENARIO)
    done = CliRunner().invoke(
        main, ["run", str(tmp_path / "own.yaml"), "--output", str(tmp_path), "-q"]
    )
    assert done.exit_code == 3
    assert "SystemExit" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_interruption_while_a_file_is_read_is_one(tmp_path):
    (tmp_path / "own.py").write_text("raise KeyboardInterrupt\n")
    (tmp_path / "own.yaml").write_text(SCENARIO)
    done = CliRunner().invoke(main, ["validate", str(tmp_path / "own.yaml")])
    assert (done.exit_code, done.stderr) == (130, "fedsim validate: interrupted.\n")
