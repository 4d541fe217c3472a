"""The commands with the real library behind them, on the embedded data."""

import json

import pytest
import yaml

SCENARIO = {
    "name": "small",
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 4, "per_round": 2, "training": {"epochs": 1, "lr": 0.1}},
    "engine": {"device": "cpu"},
}


@pytest.fixture
def scenario(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(SCENARIO, sort_keys=False))
    return "a.yaml"


def without_times(summary):
    return {key: value for key, value in summary.items() if key != "seconds"}


def test_run_again_and_report(cli, scenario):
    first = cli("run", scenario, "--json")
    assert first.exit_code == 0, first.stderr
    again = cli("run", scenario, "--json")
    assert json.loads(again.stdout) == json.loads(first.stdout)
    forced = cli("run", scenario, "--json", "--force")
    assert without_times(json.loads(forced.stdout)) == without_times(json.loads(first.stdout))
    folder = f"runs/small-{json.loads(first.stdout)['hash']}"
    shown = cli("report", folder)
    assert shown.exit_code == 0, shown.stderr
    assert shown.stderr == f"{folder}/report.html\n"
    assert "accuracy" in shown.stdout


def test_a_sweep(cli, scenario, tmp_path):
    arguments = ["run", scenario, "--set", "matrix={seed: [3, 4]}"]
    result = cli(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert [summary["seed"] for summary in json.loads(result.stdout)] == [3, 4]
    [sweep] = (tmp_path / "runs").glob("small-sweep-*")
    assert cli("report", sweep, "-o", "page.html").exit_code == 0
    assert (tmp_path / "page.html").is_file()
    resumed = cli("resume", sweep)
    assert resumed.exit_code == 0, resumed.stderr
    clash = cli(*arguments, "--seed", "1")
    assert clash.exit_code == 2
    assert clash.stderr.startswith("--seed 1: seed: ")


def test_resume_of_an_unfinished_run(cli, scenario, tmp_path):
    first = json.loads(cli("run", scenario, "--json").stdout)
    folder = tmp_path / f"runs/small-{first['hash']}"
    (folder / "summary.json").unlink()
    refused = cli("run", scenario)
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "--resume" in refused.stderr
    assert "--force" in refused.stderr
    resumed = cli("resume", folder)
    assert resumed.exit_code == 0, resumed.stderr
    finished = json.loads((folder / "summary.json").read_text())
    assert without_times(finished) == without_times(first)


def test_a_wrong_override(cli, scenario):
    result = cli("run", scenario, "--set", "server.aggregator.name=maen")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("--set server.aggregator.name=maen: server.aggregator")
    assert "'mean'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_missing_data_stand_at_the_dataset(cli, scenario, monkeypatch):
    monkeypatch.delenv("FEDSIM_DATA", raising=False)
    result = cli("run", scenario, "--set", "data={dataset: {name: mnist}}")
    assert result.exit_code == 2
    assert "data.dataset: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_preview(cli, scenario, tmp_path):
    result = cli("preview", scenario, "-o", "page.html")
    assert result.exit_code == 0, result.stderr
    assert result.stdout
    assert (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not (tmp_path / "runs").exists()
