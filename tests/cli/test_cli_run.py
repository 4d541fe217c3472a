"""What `run` and `resume` pass on, print and return."""

import importlib
import json
from pathlib import Path

import pytest

from fedsim.cells import Where
from fedsim.errors import ScenarioError


@pytest.fixture
def calls(api, outcome):
    """Each call of api.execute: (source, overrides, options)."""
    made = []

    def execute(source, overrides, **options):
        made.append((source, overrides, options))
        print("chatter of a library")
        return outcome({})

    api.execute = execute
    return made


def test_defaults(cli, calls):
    assert cli("run", "a.yaml").exit_code == 0
    [(source, overrides, options)] = calls
    del options["progress"]
    assert (source, overrides) == (Path("a.yaml"), [])
    assert options == {
        "output": Path("runs"), "resume": False, "force": False, "where": Where(), "download": False,
    }  # fmt: skip


def test_options_are_passed_on(cli, calls):
    flags = ["--resume", "--force", "--download", "--jobs", "3", "--output", "elsewhere"]
    cli("run", "a.yaml", *flags)
    [(_, _, options)] = calls
    del options["progress"]
    assert options == {
        "output": Path("elsewhere"), "resume": True, "force": True, "where": Where(3), "download": True,
    }  # fmt: skip


def test_shorthands_are_overrides_after_those_of_set(cli, calls):
    cli("run", "a.yaml", "--seed", "3", "--engine", "ray", "--device", "cpu", "--set", "rounds=2")
    assert calls[0][1] == ["rounds=2", "seed=3", "engine.name=ray", "engine.device=cpu"]


def test_an_error_in_a_shorthand_stands_at_the_option(cli, api):
    def execute(source, overrides, **_):
        raise ScenarioError(f"--set {overrides[0]}: seed: must be at least 0.")

    api.execute = execute
    result = cli("run", "a.yaml", "--seed", "-1")
    assert (result.exit_code, result.stderr) == (2, "--seed -1: seed: must be at least 0.\n")
    result = cli("run", "a.yaml", "--set", "seed=-1")
    assert result.stderr == "--set seed=-1: seed: must be at least 0.\n"


def test_the_table_goes_to_stdout_and_the_paths_to_stderr(cli, calls):
    result = cli("run", "a.yaml")
    assert "90.0" in result.stdout
    assert "chatter" not in result.stdout
    assert result.stderr.splitlines() == ["chatter of a library", "runs/a-0", "runs/report.html"]


def test_json_alone_is_on_stdout(cli, calls):
    result = cli("run", "a.yaml", "--json")
    assert json.loads(result.stdout)["hash"] == "00000000"


def test_json_of_a_sweep_is_a_list_in_order(cli, api, outcome):
    cells = [{"seed": "0"}, {"seed": "1"}, {"seed": "2"}]
    api.execute = lambda *_, **__: outcome(*cells, failed=[1])
    result = cli("run", "a.yaml", "--json")
    assert [cell and cell["seed"] for cell in json.loads(result.stdout)] == [0, None, 2]
    assert result.exit_code == 3


def test_json_of_a_matrix_with_one_cell_is_a_list(cli, api, outcome):
    api.execute = lambda *_, **__: outcome({"seed": "0"}, is_sweep=True)
    assert len(json.loads(cli("run", "a.yaml", "--json").stdout)) == 1


def test_a_failed_cell_is_named_after_the_others_are_shown(cli, api, outcome):
    cells = [{"seed": "0", "rounds": "2"}, {"seed": "1", "rounds": "2"}]
    api.execute = lambda *_, **__: outcome(*cells, failed=[1])
    result = cli("run", "a.yaml", "-q")
    assert result.exit_code == 3
    assert "90.0" in result.stdout
    expected = "fedsim run: cell seed=1, rounds=2 failed: no reply from anybody\n"
    assert result.stderr == expected


def test_a_failed_single_cell(cli, api, outcome):
    api.execute = lambda *_, **__: outcome({}, failed=[0])
    result = cli("run", "a.yaml", "-q")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr == "fedsim run: failed: no reply from anybody\n"


def rounds_of(progress, count=3):
    progress.cell_started(0, 2, {"seed": "0"}, count, 0)
    for number in range(count + 1):
        score = {"accuracy": number / 10, "attack_success_rate": None}
        progress.round_done({"round": number, **score})
    progress.message("one client was slow")
    progress.cell_finished(0, {}, reused=False)
    progress.cell_finished(1, {}, reused=True)


@pytest.mark.parametrize("flags", [[], ["-v"], ["--json"]])
def test_away_from_a_terminal_nothing_controls_one(cli, api, outcome, flags):
    def execute(*_, progress, **__):
        rounds_of(progress)
        return outcome({"seed": "0"}, {"seed": "1"})

    api.execute = execute
    result = cli("run", "a.yaml", *flags)
    told = result.stdout + result.stderr
    assert result.exit_code == 0
    assert "one client was slow" in result.stderr
    assert not any(ord(character) < 32 and character != "\n" for character in told)


def test_quiet_tells_nothing_but_the_table(cli, api, outcome):
    def execute(*_, progress, **__):
        rounds_of(progress)
        return outcome({"seed": "0"}, {"seed": "1"})

    api.execute = execute
    result = cli("run", "a.yaml", "-q")
    assert result.stderr == ""
    assert "90.0" in result.stdout


def test_resume_goes_on_in_the_same_place(cli, calls, tmp_path, monkeypatch):
    module = importlib.import_module("fedsim.cli.run")
    monkeypatch.setattr(module, "_refuse_another", lambda run: None)
    run = tmp_path / "out" / "a-12345678"
    run.mkdir(parents=True)
    (run / "scenario.yaml").write_text("name: a\n")
    assert cli("resume", run).exit_code == 0
    [(source, overrides, options)] = calls
    assert (source, overrides) == (run / "scenario.yaml", [])
    assert options["output"] == tmp_path / "out"
    assert options["resume"]
    assert not options.get("force")


def test_resume_of_a_sweep_takes_its_scenario(cli, calls, tmp_path):
    sweep = tmp_path / "a-sweep-12345678"
    sweep.mkdir()
    scenario = {"name": "a", "matrix": {"seed": [0, 1]}}
    (sweep / "sweep.json").write_text(json.dumps({"name": "a", "scenario": scenario, "cells": []}))
    cli("resume", sweep)
    assert calls[0][0] == scenario


def test_resume_of_something_else(cli, calls, tmp_path):
    result = cli("resume", tmp_path)
    assert result.exit_code == 2
    expected = f"{tmp_path}: not the folder of a run: it has no scenario.yaml.\n"
    assert result.stderr == expected
    assert not calls


def test_cells_may_be_played_on_ray(cli, calls):
    cli("run", "a.yaml", "--ray", "auto")
    assert calls[0][2]["where"] == Where(ray="auto")


def test_ray_and_jobs_exclude_each_other(cli, calls):
    told = cli("run", "a.yaml", "--ray", "auto", "--jobs", "2")
    assert (told.exit_code, told.stderr) == (
        2,
        "fedsim run: --ray and --jobs: take one of the two.\n",
    )
    assert not calls
