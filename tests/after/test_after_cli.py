"""`inspect`, `repair` and `ensemble` on finished runs."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from fedsim import execution
from fedsim.cli import main
from fedsim.ensemble import majority
from fedsim.execution import Settings
from fedsim.progress import Silence
from fedsim.results import read_model
from fedsim.scenario import load
from fedsim.types import DataSource

TOYS = f"{Path(__file__).parent / 'toys.py'}:"
PATCH = {"name": "backdoor", "target": 2, "fraction": 0.5, "trigger": {"name": "patch"}}
TREE = {
    "name": "small",
    "rounds": 4,
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {"total": 3, "per_round": 3, "training": {"lr": 0.3, "batch_size": 32}},
    "server": {"root_data": 40},
    "adversary": {"clients": 3, "poison": PATCH},
}


HELPLESS = """
from fedsim.inspections import inspections


@inspections.declare(data=False)
def helpless(suspect):
    raise ValueError("helpless: cannot tell")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(**keys)` is the folder of a finished run."""
    output = tmp_path_factory.mktemp("finished")

    def run(**keys):
        [cell] = load({**TREE, **keys})
        settings = Settings(output, DataSource(Path("none")), resume=True)
        return execution.play(cell, settings, Silence()).path

    return run


@pytest.fixture
def cli():
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


def test_inspect_prints_what_the_summary_would_hold(cli, made):
    run = made()
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    result = cli("inspect", run, "--with", TOYS + "says_so", TOYS + "bright_corner", "--json")
    assert result.exit_code == 0, result.stderr
    inspected, filtered = json.loads(result.stdout)
    summary = json.loads((run / "summary.json").read_text())
    assert inspected["verdict"]["target"] == 2
    assert inspected["before"] == {key: summary[key] for key in ("accuracy", "attack_success_rate")}
    assert filtered["caught"]["triggered"] == 1
    assert before == {path: path.read_bytes() for path in run.iterdir() if path.is_file()}


def test_inspect_prints_a_table(cli, made):
    result = cli("inspect", made(), "--with", TOYS + "says_so", "--set", "says_so.score=1.25")
    assert result.exit_code == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "says_so" in line]
    assert "clean" in line
    assert "1.25" in line


def test_repair_writes_weights_that_a_scenario_can_start_from(cli, made, tmp_path):
    file = tmp_path / "repaired.safetensors"
    names = ["--with", TOYS + "says_so", "--with", TOYS + "forgets"]
    result = cli("repair", made(), *names, "-o", file, "--json")
    assert result.exit_code == 0, result.stderr
    assert str(file) in result.stderr
    after = json.loads(result.stdout)[1]["after"]
    again = made(model={**TREE["model"], "weights": str(file)}, rounds=1, name="again")
    first = json.loads((again / "rounds.jsonl").read_text().splitlines()[0])
    assert after["accuracy"] == first["accuracy"]
    assert after["attack_success_rate"] == first["attack_success_rate"]
    assert list(read_model(file)) == list(read_model(made() / "model.safetensors"))


def refused(cli, *arguments):
    result = cli(*arguments)
    assert result.exit_code == 2, result.stdout
    (line,) = result.stderr.splitlines()
    return line


def test_a_run_without_root_data_is_told_how_to_get_some(cli, made):
    run = made(server={}, name="bare")
    line = refused(cli, "inspect", run, "--with", "neural_cleanse")
    assert line == (
        f"{run}: 'neural_cleanse' needs root data, and the run has none. "
        "Set server.root_data in its scenario and run it anew."
    )
    assert cli("inspect", run, "--with", TOYS + "says_so").exit_code == 0


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["says_so.scor=1"], "--set says_so.scor=1: {}says_so.scor: unknown parameter of "),
        (["says_so.score=x"], "--set says_so.score=x: {}says_so.score: must be a number; got 'x'."),
        (["score=1"], "--set score=1: score: must begin with the name of a check, says_so, and"),
        (["says_so.score"], "--set says_so.score: says_so.score: must be NAME.key=value."),
        (["says_so.score=[1"], "--set says_so.score=[1: says_so.score: is not valid YAML"),
    ],
)
def test_wrong_settings(cli, made, settings, line):
    options = [part for text in settings for part in ("--set", text)]
    told = refused(cli, "inspect", made(), "--with", TOYS + "says_so", *options)
    assert told.startswith(line.format(TOYS))


def test_wrong_names(cli, made, tmp_path):
    line = refused(cli, "inspect", made(), "--with", "neural_clean")
    assert line.startswith(
        "--with neural_clean: neural_clean: unknown inspection, repair or filter"
    )
    assert line.endswith("Did you mean 'neural_cleanse'?")
    line = refused(cli, "repair", made(), "--with", TOYS + "says_so", "-o", tmp_path / "x")
    assert line.startswith("fedsim repair: --with: names no repair.")
    line = refused(cli, "repair", made(), "--with", TOYS + "newborn", "-o", tmp_path / "no" / "x")
    assert line == f"{tmp_path}/no/x: cannot be written: its folder does not exist."
    assert "--with" in refused(cli, "inspect", made())


def test_a_repair_with_nothing_to_repair_writes_nothing(cli, made, tmp_path):
    run, file = made(), tmp_path / "x.safetensors"
    line = refused(cli, "repair", run, "--with", TOYS + "forgets", "-o", file)
    assert line == f"{run}: forgets: nobody has suspected a class."
    assert not file.exists()


def test_a_check_that_finds_nothing_to_work_on_leaves_the_others_verdicts(cli, made):
    names = ["--with", TOYS + "forgets", "--with", TOYS + "says_so"]
    result = cli("inspect", made(), *names, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.strip() == f"{made()}: forgets: nobody has suspected a class."
    forgets, says_so = json.loads(result.stdout)
    assert (forgets["verdict"], forgets["after"]) == (None, None)
    assert says_so["verdict"]["backdoored"]


def test_a_verdict_does_not_make_up_for_a_repair_that_failed(cli, made, tmp_path):
    names = ["--with", TOYS + "forgets", "--with", TOYS + "says_so"]
    line = refused(cli, "repair", made(), *names, "-o", tmp_path / "x.safetensors")
    assert line == f"{made()}: forgets: nobody has suspected a class."


def test_a_repair_does_not_make_up_for_an_inspection_that_failed(cli, made, tmp_path):
    (tmp_path / "mine.py").write_text(HELPLESS)
    names = [TOYS + "newborn", f"{tmp_path}/mine.py:helpless", f"{tmp_path}/mine.py:helpless"]
    result = cli("inspect", made(), "--with", *names)
    assert result.exit_code == 2, result.stdout
    assert result.stderr.splitlines() == [f"{made()}: helpless: cannot tell."] * 2


def test_what_is_no_finished_run_is_refused(cli, made, tmp_path):
    line = refused(cli, "inspect", tmp_path / "no", "--with", TOYS + "says_so")
    assert line.startswith(f"{tmp_path}/no: is not the folder of a run")
    run = tmp_path / "cut"
    shutil.copytree(made(), run)
    (run / "summary.json").unlink()
    assert "has not finished" in refused(cli, "inspect", run, "--with", TOYS + "says_so")


def test_a_run_whose_data_have_changed_is_refused(cli, made, tmp_path):
    run = tmp_path / "moved"
    shutil.copytree(made(), run)
    environment = json.loads((run / "environment.json").read_text())
    environment["data"]["test"] = "0" * 64
    (run / "environment.json").write_text(json.dumps(environment))
    line = refused(cli, "inspect", run, "--with", TOYS + "says_so")
    assert line == f"{run}: the data have changed since the run was made. Run it anew."


def test_a_run_whose_own_files_have_changed_is_refused(cli, made, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def mine(updates):\n    return updates.mean(0)\n")
    run = made(server={"aggregator": {"name": f"{file}:mine"}}, rounds=1, name="own")
    assert cli("inspect", run, "--with", TOYS + "says_so").exit_code == 0
    file.write_text("def mine(updates):\n    return 2 * updates.mean(0)\n")
    line = refused(cli, "inspect", run, "--with", TOYS + "says_so")
    assert line == f"{run}: the files have changed since the run was made. Run it anew."


def test_a_model_of_another_form_is_refused(cli, made, tmp_path):
    run = tmp_path / "other"
    shutil.copytree(made(), run)
    wide = made(model={"name": "mlp", "hidden": [8]}, rounds=1, name="wide")
    shutil.copy(wide / "model.safetensors", run / "model.safetensors")
    line = refused(cli, "inspect", run, "--with", TOYS + "says_so")
    assert line.startswith(f"{run}/model.safetensors: does not fit the scenario's network: ")


# Ensembles


def test_a_majority_by_hand():
    votes = torch.tensor([[1, 2, 0, -1, 2], [1, 1, 2, -1, -1], [0, 0, 1, -1, -1], [0, 2, 2, 1, 1]])
    assert majority(votes, 3).tolist() == [0, 2, 2, 1, 1]
    assert majority(votes[:3], 3).tolist() == [1, 0, 0, -1, 2]


def test_one_attacked_run_among_three_is_outvoted(cli, made):
    attacked = made()
    clean = [
        made(adversary={"clients": 0, "poison": PATCH}, seed=seed, name="clean") for seed in (0, 1)
    ]
    result = cli("ensemble", attacked, *clean, "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [run["run"] for run in found["runs"]] == [path.name for path in (attacked, *clean)]
    assert found["runs"][0]["attack_success_rate"] > 0.5
    outvoted = found["runs"][0]["attack_success_rate"] - found["ensemble"]["attack_success_rate"]
    assert outvoted > 0.3
    assert found["ensemble"]["accuracy"] >= min(run["accuracy"] for run in found["runs"])
    summary = json.loads((attacked / "summary.json").read_text())
    for key in ("accuracy", "attack_success_rate"):
        assert found["runs"][0][key] == summary[key]
    same = {run["ensemble_attack_success_rate"] for run in found["runs"]}
    assert same == {found["ensemble"]["attack_success_rate"]}


def test_equal_runs_vote_as_one_and_different_attacks_are_each_measured(cli, made):
    trigger = {"name": "dba", "size": 2, "gap": 2}
    poison = {**PATCH, "target": 5, "trigger": trigger}
    other = made(adversary={"clients": 3, "poison": poison}, name="dba")
    found = json.loads(cli("ensemble", made(), made(), other, "--json").stdout)
    assert found["ensemble"]["attack_success_rate"] == found["runs"][0]["attack_success_rate"]
    assert (
        found["runs"][2]["ensemble_attack_success_rate"] < found["runs"][2]["attack_success_rate"]
    )


def test_an_ensemble_prints_a_table(cli, made):
    table = cli("ensemble", made(), made(), made()).stdout
    assert "majority vote" in table
    assert table.count(made().name) == 3


def test_two_runs_are_no_ensemble(cli, made):
    line = refused(cli, "ensemble", made(), made())
    assert line == "fedsim ensemble: needs at least 3 runs; got 2."


@pytest.mark.parametrize(
    ("classes", "text"), [(4, "has 4 classes, {} has 10"), (10, "was tested on other data than {}")]
)
def test_runs_of_other_data_do_not_vote_together(cli, made, classes, text):
    data = {"dataset": {"name": "synthetic", "num_classes": classes}}
    other = made(data=data, name=f"other{classes}", adversary=None, rounds=1)
    line = refused(cli, "ensemble", made(), made(), other)
    assert line == f"{other}: {text.format(made())}. Take runs of the same data set."
