"""What fedsim never does: unpickle, leave its folder, trust a text, run a file nobody named, call."""

import ast
import json
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import fedsim
from fedsim.cli import main
from fedsim.errors import InputError

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "fedsim").rglob("*.py"))
MODEL = {"name": "mlp", "hidden": [4]}
CLIENTS = {"total": 4, "per_round": 4, "training": {"lr": 0.1, "batch_size": 256}}
SMALL = {"name": "safe", "rounds": 1, "model": MODEL, "clients": CLIENTS}

# --- nothing is unpickled -------------------------------------------------------------------

UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
MAY_PICKLE = {
    "fedsim/datasets/_cifar.py",  # after the published checksum
    "fedsim/flower/shipping.py",  # among fedsim's own processes
}
UNSAFE_YAML = {
    "load",
    "load_all",
    "unsafe_load",
    "full_load",
    "Loader",
    "UnsafeLoader",
    "FullLoader",
}
RUNS_TEXT = {"eval", "exec", "__import__", "execfile"}


def nodes(path):
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def place(path):
    return path.relative_to(ROOT).as_posix()


def imported(node):
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def unsafe(node):
    """What in a call or an attribute could run what it reads."""
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "yaml":
        return f"yaml.{node.attr}" if node.attr in UNSAFE_YAML else None
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func)
    said = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if name == "torch.load" and said.get("weights_only") != "True":
        return name
    if name in {"np.load", "numpy.load"} and said.get("allow_pickle") != "False":
        return name
    return name if name in RUNS_TEXT or said.get("shell") == "True" else None


def test_pickle_is_imported_where_it_is_known_to_be_safe():
    found = {place(path) for path in FILES for node in nodes(path) if imported(node) & UNPICKLERS}
    assert found <= MAY_PICKLE


def test_whatever_is_read_cannot_run_code():
    found = [
        (place(path), what) for path in FILES for node in nodes(path) if (what := unsafe(node))
    ]
    assert found == [("fedsim/user_files.py", "exec")]


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f)",
        "yaml.load(f, Loader=yaml.UnsafeLoader)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_scan_sees(line):
    assert any(unsafe(node) for node in ast.walk(ast.parse(line)))


def test_pickle_in_the_published_batches_comes_after_their_checksum():
    text = (ROOT / "fedsim/datasets/_cifar.py").read_text()
    assert 0 < text.index("hexdigest() != md5") < text.index("pickle.loads(")


# --- a run stays in its folder --------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../x", "..", ".", "", "/tmp/x", "a/b", "a\\b", "a\0b", "~", "-x", " x", "x ", "a\n", "é", "C:x",
     "x" * 101, "${HOME}", "%s", "a b", "\u202ea", ".hidden", "_x", "1", 1, None, ["a"]],
)  # fmt: skip
def test_a_name_that_could_lead_elsewhere_is_refused(name, tmp_path):
    output = tmp_path / "out" / "runs"
    with pytest.raises(InputError) as told:
        fedsim.run({**SMALL, "name": name}, output=output)
    assert str(told.value).startswith("scenario: name: ")
    assert str(told.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a..b", "A.b_c-d", "x" * 100, "con", "sweep"])
def test_whatever_name_is_taken_stays_below_the_output(name, tmp_path):
    output = tmp_path / "runs"
    path = fedsim.run({**SMALL, "name": name}, output=output).path
    assert path.parent == output
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("run", ["../../elsewhere", "/etc", ".", "", "a/b", "a\0b", 3])
def test_a_sweep_leads_to_no_other_folder(run, tmp_path):
    sweep = tmp_path / "s-sweep-0"
    sweep.mkdir()
    cell = {"labels": {}, "run": run, "hash": "0", "status": "finished", "error": None}
    (sweep / "sweep.json").write_text(json.dumps({"name": "s", "scenario": {}, "cells": [cell]}))
    with pytest.raises(InputError, match=r"sweep\.json: cells\.0\.run: "):
        fedsim.load(sweep)


# --- the report escapes ---------------------------------------------------------------------

EVIL = "</pre></svg></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}{%x%}"
RULE = f'''
def rule(updates, *, text: str = "x"):
    """{EVIL}"""
    return updates.mean(dim=0)
'''


class Tags(HTMLParser):
    """The tags of a page, their attributes, and where else it points to."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def is_clean(text):
    seen = Tags(text)
    assert "table" in seen.tags or "figure" in seen.tags
    assert not seen.tags & {"script", "iframe", "object", "embed", "form", "base", "link"}
    assert not any(name.startswith("on") for name in seen.attributes)
    assert "<script" not in text.lower()


def test_hostile_texts_of_a_scenario_stay_texts(tmp_path):
    folder = tmp_path / "a<b>&\"'"
    folder.mkdir()
    (folder / "rule.py").write_text(RULE)
    source = folder / "evil.yaml"
    own = {"name": "rule.py:rule", "text": EVIL}
    tree = {
        **SMALL,
        "server": {"aggregator": own},
        "matrix": {"server.aggregator": [own, {**own, "text": "y"}]},
    }
    source.write_text(f"# {EVIL}?\n{json.dumps(tree)}\n")
    done = CliRunner().invoke(main, ["run", str(source), "--output", str(tmp_path / "runs"), "-q"])
    assert done.exit_code == 0, done.stderr
    pages = list((tmp_path / "runs").rglob("report.html"))
    assert pages
    for page in pages:
        is_clean(page.read_text())
        assert "alert(1)" in page.read_text()
        assert "49" not in page.read_text().partition("alert(2)")[2][:30]
    shown = tmp_path / "preview.html"
    assert CliRunner().invoke(main, ["preview", str(source), "-o", str(shown)]).exit_code == 0
    is_clean(shown.read_text())
    assert "alert(1)" in shown.read_text()


def test_hostile_texts_of_a_run_folder_stay_texts(tmp_path):
    """As somebody might send one: what is not a number where one belongs is refused, texts escaped."""
    path = fedsim.run(SMALL, output=tmp_path).path
    summary = json.loads((path / "summary.json").read_text())
    evil = {
        "name": EVIL, "hash": EVIL, "engine": EVIL, "device": EVIL, "failures": {EVIL: 1},
        "flags": [{"flag": EVIL, "text": EVIL, "rounds": [1]}], "certified": {EVIL: EVIL},
    }  # fmt: skip
    (path / "summary.json").write_text(json.dumps({**summary, **evil}))
    (path / "environment.json").write_text(json.dumps({EVIL: EVIL, "fedsim": EVIL}))
    lines = (path / "clients.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "failed": EVIL} for line in lines]
    (path / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = tmp_path / "page.html"
    assert CliRunner().invoke(main, ["report", str(path), "-o", str(page)]).exit_code == 0
    is_clean(page.read_text())
    assert page.read_text().count("alert(1)") >= 5
    run = fedsim.load(path)
    assert "<script" not in run._repr_html_()
    for key, value in (("loss", EVIL), ("norm", EVIL), ("weight", "1")):
        rows[0] = {**rows[0], key: value}
        (path / "clients.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(InputError, match=rf"clients\.jsonl: line 1: {key}"):
            _ = fedsim.load(path).clients
        rows[0] = {**rows[0], key: 1.0}


def test_a_report_allows_no_script_and_nothing_from_elsewhere():
    page = (ROOT / "fedsim/reporting/base.html.j2").read_text()
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page


# --- nobody's file is run unless it is named ------------------------------------------------

TRAP = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\n"
TRAP += "def rule(updates):\n    return updates.mean(dim=0)\n"


def python(code, cwd, **environment):
    """A process of its own, which finds modules where the installed command does."""
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


@pytest.fixture
def trap(tmp_path):
    """A scenario, and beside it files that leave a trace when they are run."""
    for name in ("my_rule", "fedsim_plugins", "conftest", "sitecustomize", "yaml", "torch"):
        (tmp_path / f"{name}.py").write_text(f"{TRAP}# {tmp_path}\n")
    (tmp_path / "a.yaml").write_text(json.dumps(SMALL))
    return tmp_path


COMMANDS = """
from click.testing import CliRunner
from fedsim.cli import main
for line in ("--help", "list", "describe krum", "schema", "validate a.yaml", "preview a.yaml", "run a.yaml"):
    done = CliRunner().invoke(main, line.split())
    assert done.exit_code == 0, done.output
"""


def test_a_file_that_nobody_named_is_not_run(trap):
    done = python(COMMANDS, trap)
    assert done.returncode == 0, done.stderr
    assert list(trap.glob("*.ran")) == []


def test_a_file_that_is_named_is_run_and_leaves_nothing_beside(trap, monkeypatch):
    monkeypatch.chdir(trap)
    rule = "server.aggregator.name=my_rule.py:rule"
    done = CliRunner().invoke(main, ["run", "a.yaml", "--set", rule, "-q"])
    assert done.exit_code == 0, done.stderr
    assert [path.name for path in trap.glob("*.ran")] == ["my_rule.ran"]
    assert not list(trap.rglob("*.pyc"))


def test_a_report_runs_no_file_that_a_run_names(trap, monkeypatch):
    monkeypatch.chdir(trap)
    run = fedsim.run({**SMALL, "server": {"aggregator": {"name": "my_rule.py:rule"}}}, output=trap)
    (trap / "my_rule.py").write_text(TRAP + "# another\n")
    (trap / "my_rule.ran").unlink()
    assert CliRunner().invoke(main, ["report", str(run.path)]).exit_code == 0
    assert not (trap / "my_rule.ran").exists()


# --- no network -----------------------------------------------------------------------------

NO_SOCKETS = """
import os, sys
def deny(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.")) and event != "socket.gethostname":
        if event == "socket.__new__":
            return
        with open(os.environ["CALLS"], "a") as log:
            log.write(f"{event} {arguments}\\n")
        raise OSError(f"blocked: {event}")
sys.addaudithook(deny)
"""


def test_the_quickstart_needs_no_network(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    calls = tmp_path / "calls"
    changes = ["rounds=1", "adversary.schedule={forced: true}", "matrix.server=[{lr: 1.0}]"]
    options = [part for change in changes for part in ("--set", change)]
    arguments = ["run", str(ROOT / "scenarios/quickstart.yaml"), *options]
    found = os.pathsep.join([str(tmp_path), str(ROOT)])
    code = f"from fedsim.cli import main; main({arguments})"
    done = python(code, tmp_path, PYTHONPATH=found, CALLS=str(calls))
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").glob("*-sweep-*/report.html"))) == 1
    assert not calls.exists(), calls.read_text()


def test_the_block_would_be_felt(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_SOCKETS)
    calls = tmp_path / "calls"
    code = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = python(code, tmp_path, PYTHONPATH=str(tmp_path), CALLS=str(calls))
    assert "blocked: socket." in done.stderr
    assert calls.read_text()
