"""Runs in their folders: what is reused, resumed, refused, and never mixed."""

import json
import multiprocessing
import shutil

import pytest
import torch
from safetensors.torch import save_file

from fedsim.api import execute, run, sweep
from fedsim.errors import InputError, RunError, ScenarioError
from fedsim.results import RunFolder, load, store

TREE = {
    "name": "played",
    "rounds": 6,
    "data": {"dataset": {"name": "tensors", "path": "toy.safetensors"}},
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 6, "per_round": 3, "training": {"lr": 0.1, "batch_size": 8}},
    "server": {
        "aggregator": {"name": "auror", "observe_rounds": 3},
        "optimizer": {"name": "momentum"},
    },
    "adversary": {"clients": 2, "poison": {"name": "label_flip", "mode": "reversed"}},
}


def write_data(folder, seed=0):
    draws = torch.Generator().manual_seed(seed)
    arrays = {}
    for split, count in (("train", 96), ("test", 30)):
        arrays[f"{split}_images"] = torch.rand(count, 4, 4, generator=draws)
        arrays[f"{split}_labels"] = torch.arange(count) % 3
    save_file(arrays, folder / "toy.safetensors")


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    write_data(tmp_path)


class StopAt:
    """A listener that ends the run when a round is done, as a kill would, but after its records."""

    def __init__(self, round_):
        self.round = round_

    def cells_planned(self, _):
        pass

    def cell_started(self, *_):
        pass

    def cell_finished(self, *_):
        pass

    def message(self, _):
        pass

    def round_done(self, record):
        if record["round"] == self.round:
            raise KeyboardInterrupt


def stopped(tree, output, round_):
    with pytest.raises(KeyboardInterrupt):
        execute(tree, output=output, progress=StopAt(round_))
    [folder] = [f.parent for f in output.glob("*/checkpoint.pt")]
    return folder


def lines(path):
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in record.items() if k != "seconds"} for record in records]


@pytest.mark.parametrize("round_", [0, 2, 3, 5])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, round_):
    whole = run(TREE, output=tmp_path / "whole")
    folder = stopped(TREE, tmp_path / "broken", round_)
    with (folder / "rounds.jsonl").open("a") as file:
        file.write('{"round": 9')  # what a kill leaves
    with pytest.raises(InputError, match="--resume"):
        execute(TREE, output=tmp_path / "broken")
    resumed = run(TREE, output=tmp_path / "broken")
    for name in ("rounds.jsonl", "clients.jsonl"):
        assert lines(resumed.path / name) == lines(whole.path / name)
    mine, other = ({k: v for k, v in r.summary.items() if k != "seconds"} for r in (resumed, whole))
    assert mine == other
    assert not (resumed.path / "checkpoint.pt").exists()


def test_a_finished_run_is_shown_and_forced_to_run_anew(tmp_path):
    first = run(TREE, output=tmp_path)
    before = (first.path / "rounds.jsonl").stat().st_mtime_ns
    run(TREE, output=tmp_path)
    assert (first.path / "rounds.jsonl").stat().st_mtime_ns == before
    execute(TREE, output=tmp_path, force=True)
    assert (first.path / "rounds.jsonl").stat().st_mtime_ns > before


def test_other_data_are_not_mixed_into_a_run(tmp_path):
    stopped(TREE, tmp_path / "runs", 3)
    write_data(tmp_path, seed=1)
    with pytest.raises(InputError, match="data have changed"):
        run(TREE, output=tmp_path / "runs")
    execute(TREE, output=tmp_path / "runs", force=True)


def test_what_a_preaggregator_assumes_is_held_against_what_is_true(tmp_path):
    for name, parameters in (("adaptive_robust_clipping", {"num_byzantine": 1}), ("normalize", {})):
        server = {"preaggregators": [{"name": name, **parameters}]}
        done = run({**TREE, "server": server, "adversary": None}, output=tmp_path / "runs")
        flags = {flag["flag"] for flag in done.summary["flags"]}
        assert ("assumed_more_than_true" in flags) == bool(parameters)


def test_a_twin_of_other_data_is_made_again(tmp_path):
    tree = {**TREE, "clean_twin": True}
    execute(tree, output=tmp_path / "a")
    write_data(tmp_path, seed=1)
    (again,) = execute(tree, output=tmp_path / "a", force=True).runs
    (fresh,) = execute(tree, output=tmp_path / "b").runs
    assert again.summary["clean_twin"] == fresh.summary["clean_twin"]


def hold(path, ready, done):
    with RunFolder(path).locked():
        ready.set()
        done.wait(30)


def test_two_processes_do_not_write_one_run(tmp_path):
    first = run(TREE, output=tmp_path)
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=hold, args=(first.path, ready, done))
    process.start()
    try:
        assert ready.wait(60)
        with pytest.raises(InputError, match="another process"):
            execute(TREE, output=tmp_path, force=True)
    finally:
        done.set()
        process.join()
    execute(TREE, output=tmp_path, force=True)


def test_a_full_disk_at_the_end_keeps_the_checkpoint(tmp_path, monkeypatch):
    whole = run(TREE, output=tmp_path / "whole")

    def full(path, value):
        if path.name == "summary.json":
            raise OSError(28, "No space left on device")
        return write_json(path, value)

    write_json = store.write_json
    monkeypatch.setattr(store, "write_json", full)
    with pytest.raises(RunError, match="No space"):
        run(TREE, output=tmp_path / "full")
    monkeypatch.undo()
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    (folder,) = (tmp_path / "full").iterdir()
    assert RunFolder(folder).load_checkpoint()["round"] == 6
    resumed = run(TREE, output=tmp_path / "full")
    assert resumed.summary["parameters_sha256"] == whole.summary["parameters_sha256"]


def test_a_damaged_cell_does_not_keep_the_others_from_finishing(tmp_path):
    tree = {**TREE, "matrix": {"seed": [0, 1, 2]}}
    first = stopped(tree, tmp_path / "runs", 3)
    (first / "checkpoint.pt").write_bytes(b"junk")
    outcome = execute(tree, output=tmp_path / "runs", resume=True)
    assert [run is None for run in outcome.runs] == [True, False, False]
    assert "is not a checkpoint" in outcome.failures[0][1]
    assert [cell["status"] for cell in load(outcome.sweep.path).cells] == [
        "failed",
        "finished",
        "finished",
    ]


def test_a_sweep_remembers_its_files_wherever_it_is_resumed_from(tmp_path, monkeypatch):
    (tmp_path / "rule.py").write_text("def half(updates):\n    return updates.mean(dim=0) / 2\n")
    tree = {**TREE, "server": {"aggregator": {"name": "rule.py:half"}}, "matrix": {"seed": [0, 1]}}
    (tmp_path / "s.yaml").write_text(json.dumps(tree))
    made = sweep(tmp_path / "s.yaml", output=tmp_path / "runs")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = sweep(made.scenario, output=tmp_path / "runs")
    assert [run.path for run in again.runs] == [run.path for run in made.runs]


def test_run_does_not_take_a_matrix(tmp_path):
    with pytest.raises(ScenarioError, match=r"matrix: has 2 cells; .* fedsim\.sweep"):
        run({**TREE, "matrix": {"seed": [0, 1]}}, output=tmp_path)


def test_resume_refuses_a_folder_that_is_not_its_scenarios(tmp_path):
    from click.testing import CliRunner

    from fedsim.cli import main

    folder = stopped(TREE, tmp_path / "runs", 3)
    renamed = folder.parent / "renamed"
    shutil.move(folder, renamed)
    told = CliRunner().invoke(main, ["resume", str(renamed)])
    assert told.exit_code == 2
    assert folder.name in told.stderr
    assert len(lines(renamed / "rounds.jsonl")) == 4
    assert not folder.exists()
