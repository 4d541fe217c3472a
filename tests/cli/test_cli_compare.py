"""`fedsim compare`: what it prints and writes, on runs made for it."""

import json

import pytest
import yaml

from fedsim.api import run, sweep

TREE = {
    "name": "small",
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 4, "per_round": 2, "training": {"epochs": 1, "lr": 0.1}},
    "engine": {"device": "cpu"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`a`, the same run again in `b`, one with another rule in `c`, one of another seed in `d`."""
    folder = tmp_path_factory.mktemp("compared")
    changed = {"b": {}, "c": {"server.aggregator": {"name": "median"}}, "d": {"seed": 1}}
    for name, changes in {"a": {}, **changed}.items():
        made = run(TREE, changes, output=folder / "made" / name)
        made.path.rename(folder / name)
    swept = sweep({**TREE, "matrix": {"seed": [0, 1]}}, output=folder / "swept")
    (folder / "sweep").symlink_to(swept.path)
    return folder


def test_a_run_made_again(cli, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = cli("compare", "a", "b")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith((" a ", " b "))] == ["a", "b"]
    assert lines[-1] == "a and b: equal in everything but times."


def test_a_run_of_another_rule(cli, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = cli("compare", "a", "c", "b")
    assert result.exit_code == 0, result.stderr
    told = result.stdout[result.stdout.index("a and c: ") :]
    lines = [line.split() for line in told.splitlines()]
    assert ["scenario", "server.aggregator.name", "'mean'", "'median'"] in lines
    assert any(line[:2] == ["round", "1,"] for line in lines)
    assert not any(line[:2] == ["round", "2,"] for line in lines)
    assert "a and b: equal in everything but times." in told


def test_seeds_side_by_side_are_not_averaged(cli, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = cli("compare", "a", "d")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines if line and line[0] in ("a", "d")][:2] == ["a", "d"]
    assert ["scenario", "seed", "0", "1"] in lines


def test_numbers_that_nothing_explains(cli, folder, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(folder / "a", tmp_path / "x")
    path = tmp_path / "x" / "rounds.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({**json.loads(lines[2]), "update_norm": 1.0})
    path.write_text("\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    result = cli("compare", folder / "a", "x")
    assert "nothing that was recorded tells why the numbers differ:" in result.stdout
    last = result.stdout.split("differ:")[1].split()
    assert last[-5:-2] == ["round", "2", "update_norm"]


def test_a_sweep(cli, folder, monkeypatch):
    swept = folder / "sweep"
    result = cli("compare", swept.resolve())
    assert result.exit_code == 0, result.stderr
    assert "95 % interval" in result.stdout
    assert "differ" not in result.stdout


@pytest.mark.parametrize("name", ["x.svg", "x.png", "x.pdf", "x.md", "x.csv", "x.tex"])
def test_what_is_written(cli, folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(folder)
    path = tmp_path / name
    result = cli("compare", "a", "c", "-o", path)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == f"{path}\n"
    starts = {
        ".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".md": b"| server |",
        ".csv": b"server,seeds,", ".tex": rb"\begin{tabular}",
    }  # fmt: skip
    assert path.read_bytes().startswith(starts[path.suffix])
    if path.suffix == ".md":
        assert "| scenario | server.aggregator.name | 'mean' | 'median' |" in path.read_text()


@pytest.fixture(scope="module")
def crossed(tmp_path_factory):
    """A sweep of two rules by two attacks."""
    rules = [{"name": "mean"}, {"name": "median"}]
    attacks = [{"name": "zero"}, {"name": "sign_flip"}]
    matrix = {"server.aggregator": rules, "adversary.attack": attacks}
    tree = {**TREE, "adversary": {"clients": 1}, "matrix": matrix}
    return sweep(tree, output=tmp_path_factory.mktemp("crossed")).path


@pytest.mark.parametrize("name", ["x.svg", "x.md", "x.csv", "x.tex"])
def test_rules_crossed_with_attacks(cli, crossed, tmp_path, name):
    path = tmp_path / name
    result = cli("compare", crossed, "-o", path)
    assert result.exit_code == 0, result.stderr
    text = path.read_text()
    told = {
        ".svg": "accuracy: on the clean test set; one seed, no interval.",
        ".md": "| rule | zero: accuracy (%) | sign_flip: accuracy (%) |",
        ".csv": "mean,sign_flip,accuracy,mean,sign_flip,1,",
        ".tex": r"rule & zero: accuracy (\%) & sign\_flip: accuracy (\%) \\",
    }  # fmt: skip
    assert told[path.suffix] in text
    if path.suffix in (".md", ".tex"):
        assert text.count("median") > 2, "the scores are below"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "fedsim compare: Missing argument 'RUN_OR_SWEEP...'."),
        (("nowhere",), "nowhere: there is no such folder."),
        (("a", "-o", "x.html"), "fedsim compare: -o: 'x.html' must end in one of .svg, .png,"),
        (("a", "-o", "nowhere/x.md"), "nowhere/x.md: cannot be written: No such file"),
    ],
)
def test_wrong_input(cli, folder, monkeypatch, arguments, line):
    monkeypatch.chdir(folder)
    result = cli("compare", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


def test_the_environment_tells_of_a_rule_of_ones_own(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    server = {"aggregator": {"name": "rule.py:half"}}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump({**TREE, "server": server}))
    for part in ("2", "3"):
        (tmp_path / "rule.py").write_text(
            f"def half(updates):\n    return updates.mean(0) / {part}"
        )
        run("s.yaml", output=part)
    result = cli(
        "compare", *[str(folder) for part in "23" for folder in (tmp_path / part).iterdir()]
    )
    assert result.exit_code == 0, result.stderr
    assert any("environment" in line and "rule.py" in line for line in result.stdout.splitlines())
