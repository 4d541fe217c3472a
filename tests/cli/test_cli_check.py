"""`validate`, `preview`, `report`, `bench`."""

import json
from types import SimpleNamespace

import pytest
import yaml

GOOD = {
    "name": "a",
    "rounds": 1,
    "model": {"name": "mlp"},
    "clients": {"total": 4, "per_round": 2, "training": {"epochs": 1, "lr": 0.1}},
    "engine": {"device": "cpu"},
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write scenarios into the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FEDSIM_DATA", raising=False)

    def put(name, **changes):
        (tmp_path / name).write_text(yaml.safe_dump(GOOD | changes, sort_keys=False))
        return name

    return put


def test_validate_tells_of_each_file(cli, write):
    write("a.yaml")
    write("b.yaml", matrix={"seed": [0, 1, 2]})
    result = cli("validate", "a.yaml", "b.yaml")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "a.yaml: ok (1 cell)\nb.yaml: ok (3 cells)\n"
    assert result.stderr == ""


def test_validate_goes_on_after_a_bad_file(cli, write):
    write("a.yaml", rounds=0)
    write("b.yaml")
    result = cli("validate", "a.yaml", "missing.yaml", "b.yaml")
    assert result.exit_code == 2
    assert result.stdout == "b.yaml: ok (1 cell)\n"
    [rounds, missing] = result.stderr.splitlines()
    assert rounds.startswith("a.yaml:2:")
    assert "rounds: must be greater than" in rounds
    assert missing.startswith("missing.yaml: ")


def test_validate_looks_at_the_data(cli, write):
    write("a.yaml", data={"dataset": {"name": "mnist"}})
    write("b.yaml", data={"partition": {"name": "by_class", "classes_per_client": 99}})
    result = cli("validate", "a.yaml", "b.yaml")
    assert result.exit_code == 2
    [missing, partition] = result.stderr.splitlines()
    assert missing.startswith("a.yaml:")
    assert "data.dataset: " in missing
    assert "data.partition" in partition


def test_preview_prints_and_writes_the_page(cli, api, tmp_path):
    shown = SimpleNamespace(lines=["40 clients", "4 attack"], html="<p>é</p>")
    calls = []

    def preview(*arguments, **options):
        calls.append((*arguments, options))
        return shown

    api.preview = preview
    page = tmp_path / "page.html"
    result = cli("preview", "a.yaml", "-o", page)
    assert result.stdout == "40 clients\n4 attack\n"
    assert result.stderr == f"{page}\n"
    assert page.read_text(encoding="utf-8") == "<p>é</p>"
    assert [str(part) for part in calls[0]] == ["a.yaml", "[]", "{'download': False}"]


def test_preview_into_a_folder_that_is_not_there(cli, api, tmp_path):
    api.preview = lambda *_, **__: SimpleNamespace(lines=[], html="")
    page = tmp_path / "no" / "page.html"
    result = cli("preview", "a.yaml", "-o", page)
    assert result.exit_code == 2
    assert result.stderr == f"{page}: cannot be written: No such file or directory.\n"


def test_report_of_something_else(cli, tmp_path):
    result = cli("report", tmp_path / "no")
    assert result.exit_code == 2
    assert result.stderr == f"{tmp_path / 'no'}: there is no such folder.\n"


@pytest.fixture
def measured(monkeypatch):
    """What the command prints, by part, where nothing is measured."""
    from fedsim.bench import aggregators, engines, machine, round, train

    facts = machine.machine()
    figure = train._figure("a round", 3.0, "a bare loop", 2.0)
    counts = {"clients": 1, "steps": 2, "evaluated": 3, "workers": 4, "repeats": 5}
    rates = {"startup_s": 1.0, "gflops": 1.0, "matmul_gflops_per_s": 1.0}
    numbers = {**counts, **rates, "machine": facts, "figures": [figure]}
    cells = [aggregators._skipped("krum", 10, 60_000, "memory")]
    rows = [engines._row("ray", "lenet5", 60_000, 10, 2, "no memory")]
    seconds = dict.fromkeys(round.PARTS, 1.0)
    whole = {"measured_s": 6.0, "floor_s": 2.0, "ratio": 3.0, "share": 1 / 3}
    run = {**whole, "seconds": seconds, "rounds": 1, "clients": 1, "machine": facts}
    monkeypatch.setattr(machine, "machine", lambda: facts)
    monkeypatch.setattr(train, "measure", lambda: numbers)
    monkeypatch.setattr(engines, "measure", lambda full: rows)
    monkeypatch.setattr(aggregators, "measure", lambda full: cells)
    monkeypatch.setattr(round, "measure", lambda: run)
    together = {"machine": facts, "rows": rows}
    return {"train": numbers, "engines": together, "aggregators": cells, "round": run}


def test_bench(cli, measured):
    for part, numbers in measured.items():
        assert json.loads(cli("bench", part, "--json").stdout) == numbers
    assert json.loads(cli("bench", "--json").stdout) == measured
    shown = cli("bench").stdout
    assert "a bare loop" in shown
    assert "no memory" in shown
    assert "training and evaluation: 2.00 s of 6.00 s, 33%" in shown
    assert "skipped" in cli("bench", "aggregators").stdout
    assert cli("bench", "aggregator").exit_code == 2
