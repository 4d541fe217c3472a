"""Checks and monitors in a run: its folder, its summary, and going on after an interruption."""

import copy
import json
from pathlib import Path

import pytest
import torch

from fedsim import execution
from fedsim.errors import RunError
from fedsim.execution import Settings
from fedsim.finished import open_run
from fedsim.progress import Silence
from fedsim.results import Run, load, read_model
from fedsim.results.after import read_after
from fedsim.scenario import load as scenario
from fedsim.simulation.after import measure
from fedsim.types import DataSource

TOYS = f"{Path(__file__).parent / 'toys.py'}:"
PATCH = {"name": "backdoor", "target": 2, "fraction": 0.5, "trigger": {"name": "patch"}}
TREE = {
    "name": "small",
    "rounds": 4,
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {"total": 3, "per_round": 3, "training": {"lr": 0.1, "batch_size": 64}},
    "server": {"root_data": 40},
    "adversary": {"clients": 1, "poison": PATCH},
}
CHECKS = [
    {"name": TOYS + "says_so"},
    {"name": TOYS + "bright_corner"},
    {"name": TOYS + "forgets"},
]
COUNTS = [{"name": TOYS + "counts"}]


def play(output, progress=None, force=False, **keys) -> Run:
    [cell] = scenario({**TREE, **keys})
    source = DataSource(Path("none"))
    settings = Settings(Path(output), source, resume=True, force=force)
    return execution.play(cell, settings, progress or Silence())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return play(tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    return play(tmp_path_factory.mktemp("checked"), after=CHECKS, monitors=COUNTS)


def numbers(summary):
    """All of a summary but its hash and what depends on the clock."""
    kept = copy.deepcopy(summary)
    for entry in (kept, *kept["after"]):
        del entry["seconds"]
    return {key: value for key, value in kept.items() if key != "hash"}


def test_the_key_is_always_there(plain):
    assert plain.summary["after"] == []


def test_checks_and_monitors_change_nothing_of_the_run(plain, checked):
    without = {**numbers(checked.summary), "after": [], "flags": plain.summary["flags"]}
    assert without == numbers(plain.summary)
    for name in ("model.safetensors", "examples.safetensors"):
        assert (checked.path / name).read_bytes() == (plain.path / name).read_bytes()


def test_every_check_is_in_the_summary(checked):
    inspected, filtered, repaired = checked.summary["after"]
    keys = ["name", "kind", "before", "after", "verdict", "caught", "seconds"]
    assert [list(one) for one in (inspected, filtered, repaired)] == [keys] * 3
    scores = {key: checked.summary[key] for key in ("accuracy", "attack_success_rate")}
    assert inspected["before"] == filtered["before"] == repaired["before"] == scores
    assert inspected["verdict"]["target"] == 2
    assert inspected["after"] is inspected["caught"] is filtered["verdict"] is None
    assert set(filtered["caught"]) == {"triggered", "clean"}
    assert repaired["after"] != scores
    assert checked.summary["seconds"] >= sum(one["seconds"] for one in checked.summary["after"])


def test_a_repaired_model_and_a_recovered_trigger_are_kept(checked):
    kept = sorted(path.name for path in (checked.path / "after").iterdir())
    assert kept == ["0-says_so-trigger.safetensors", "2-forgets.safetensors"]
    trigger = read_after(checked.path, "0-says_so-trigger")
    assert trigger["mask"].sum() == 9
    assert trigger["pattern"].shape == (1, 8, 8)
    finished = open_run(checked.path)
    finished.model.load_state_dict(read_after(checked.path, "2-forgets"))
    scores = measure(finished.federation, finished.model)
    assert scores == checked.summary["after"][2]["after"]


def test_a_repaired_model_can_be_started_from(tmp_path, checked):
    weights = str(checked.path / "after" / "2-forgets.safetensors")
    model = {**TREE["model"], "weights": weights}
    first = play(tmp_path, model=model, rounds=1).rounds[0]
    assert first["accuracy"] == checked.summary["after"][2]["after"]["accuracy"]


def test_so_can_one_behind_a_normalising_layer(tmp_path):
    model = {**TREE["model"], "normalize": True}
    one = play(tmp_path, model=model, after=CHECKS, rounds=1)
    for name, scores in (
        ("model", one.summary),
        ("after/2-forgets", one.summary["after"][2]["after"]),
    ):
        weights = {**model, "weights": str(one.path / f"{name}.safetensors")}
        first = play(tmp_path / "again", model=weights, rounds=1, name=name[:5]).rounds[0]
        assert first["accuracy"] == scores["accuracy"]


def test_a_clean_twin_is_checked_too(tmp_path):
    one = play(tmp_path, after=CHECKS[:2], clean_twin=True)
    twin = load(tmp_path / f"small-{one.summary['clean_twin']['hash']}")
    assert [entry["name"] for entry in twin.summary["after"]] == ["says_so", "bright_corner"]


def test_what_had_nothing_to_work_on_is_flagged(tmp_path):
    one = play(tmp_path, after=CHECKS[2:])
    flags = {flag["flag"]: flag for flag in one.summary["flags"]}
    text = "After training, forgets: nobody has suspected a class."
    assert flags["after.forgets"] == {"flag": "after.forgets", "text": text, "rounds": []}
    assert one.summary["after"][0]["after"] is None


def test_two_of_a_name_have_flags_of_their_own(tmp_path):
    watching = [{"name": TOYS + "counts", "over": over} for over in (2, 0)]
    one = play(tmp_path, rounds=3, monitors=watching, after=2 * CHECKS[2:])
    rounds = {flag["flag"]: flag["rounds"] for flag in one.summary["flags"]}
    assert rounds["counts"] == [3]
    assert rounds["counts#2"] == [1, 2, 3]
    assert rounds["after.forgets"] == rounds["after.forgets#2"] == []


def test_alarms_are_flags_with_their_rounds(checked):
    flags = {flag["flag"]: flag for flag in checked.summary["flags"]}
    text = "counts, first in round 3: 3 rounds seen"
    assert flags["counts"] == {"flag": "counts", "text": text, "rounds": [3, 4]}


def test_running_anew_removes_what_checks_have_left(tmp_path):
    one = play(tmp_path, after=CHECKS, rounds=1)
    stale = one.path / "after" / "7-stale.safetensors"
    stale.write_bytes(b"")
    play(tmp_path, after=CHECKS, rounds=1, force=True)
    assert not stale.exists()
    assert (one.path / "after" / "2-forgets.safetensors").is_file()


class StopAt(Silence):
    """Ends a run when a round is done."""

    def __init__(self, round_):
        self.round = round_

    def round_done(self, record):
        if record["round"] == self.round:
            raise KeyboardInterrupt


@pytest.mark.parametrize("last", [2, 3, 4])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, checked, last):
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, StopAt(last), after=CHECKS, monitors=COUNTS)
    again = play(tmp_path, after=CHECKS, monitors=COUNTS)
    assert numbers(again.summary) == numbers(checked.summary)
    for path in (checked.path / "after").iterdir():
        assert path.read_bytes() == (again.path / "after" / path.name).read_bytes()


def test_going_on_after_the_last_round_leaves_torch_as_it_was(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        play(tmp_path, StopAt(4), engine={"deterministic": True})
    play(tmp_path, engine={"deterministic": True})
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_check_that_breaks_leaves_a_run_that_can_be_resumed(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from fedsim.repairs import repairs\n@repairs.register\n"
        "def broken(suspect):\n    raise KeyError('x')\n"
    )
    with pytest.raises(RunError, match=r"after.0: .*broken raised KeyError: 'x'"):
        play(tmp_path, after=[{"name": f"{tmp_path}/mine.py:broken"}])
    (folder,) = tmp_path.glob("small-*")
    assert (folder / "checkpoint.pt").is_file()
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    ("body", "told"),
    [("raise KeyError('x')", "KeyError: 'x'"), ("return None, None", "TypeError: ")],
)
def test_a_monitor_that_breaks_is_told_with_its_round(tmp_path, body, told):
    (tmp_path / "mine.py").write_text(f"def broken(watch):\n    {body}\n")
    with pytest.raises(RunError, match=f"round 1: monitors.0 raised {told}"):
        play(tmp_path, monitors=[{"name": f"{tmp_path}/mine.py:broken"}])


def test_a_run_with_a_learned_trigger_is_measured_with_what_was_learned(tmp_path):
    trigger = {"name": "trojan", "size": 3, "position": [0, 0], "steps": 10}
    one = play(tmp_path, adversary={"clients": 1, "poison": {**PATCH, "trigger": trigger}})
    finished = open_run(one.path)
    assert finished.pattern is not None
    scores = measure(finished.federation, finished.model, finished.pattern)
    assert scores["attack_success_rate"] == one.summary["attack_success_rate"]


def test_the_summary_is_read_back_and_a_damaged_entry_is_told(tmp_path, checked):
    path = tmp_path / "small"
    path.mkdir()
    for file in checked.path.iterdir():
        if file.is_file():
            (path / file.name).write_bytes(file.read_bytes())
    summary = json.loads((path / "summary.json").read_text())
    del summary["after"][1]["before"]
    (path / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(Exception, match=r"after\.1\.before"):
        load(path)


def test_the_final_model_is_that_of_the_federation(checked):
    from fedsim.tensors import state_sha256

    weights = read_model(checked.path / "model.safetensors")
    assert state_sha256(weights) == checked.summary["parameters_sha256"]
