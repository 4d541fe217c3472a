"""`fedsim export`: what each tracker is told of a run, by stand-ins and by the real TensorBoard."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from fedsim import export as trackers
from fedsim.cli.export import TRACKERS
from tests.cli.conftest import summary

SCENARIO = """\
name: small
seed: 3
rounds: 2
evaluate_every: 2
model: {name: mlp, hidden: [8], weights: null}
clients: {total: 4, per_round: 2, training: {epochs: 1, lr: 0.1}}
server: {aggregator: {name: mean}}
"""
SWITCHES = {
    "mlflow": ("MLFLOW_DISABLE_TELEMETRY",),
    "wandb": ("WANDB_ERROR_REPORTING", "WANDB_DISABLE_GIT", "WANDB_DISABLE_CODE", "WANDB_SILENT"),
}


def round_of(number, accuracy, asr):
    share = {"accuracy": accuracy, "attack_success_rate": asr, "robust_accuracy": None}
    counts = {"num_clients": 2, "num_malicious": 1, "num_failed": 0}
    seconds = {"train": 0.25, "aggregate": 0.125 * number, "evaluate": 0.0}
    loss = {"loss": None, "update_norm": 1.5}
    return {"round": number, **share, **counts, **loss, "seconds": seconds}


@pytest.fixture
def folder(tmp_path):
    """A finished run in a folder whose name needs quotes; it was not evaluated in round 1."""
    folder = tmp_path / "my runs" / "small-00000003"
    folder.mkdir(parents=True)
    (folder / "scenario.yaml").write_text(SCENARIO)
    rounds = [round_of(0, 0.1, 0.0), round_of(1, None, None), round_of(2, 0.75, 0.9)]
    (folder / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))
    flags = [{"flag": "never_learned", "text": "It stayed at chance.", "rounds": [2]}]
    shares = dict.fromkeys(["precision", "recall", "false_positive_rate", "auc"], 0.5)
    scores = {"accuracy": 0.75, "attack_success_rate": 0.9, "accuracy_per_class": [0.5, 1.0]}
    whole = summary(3, name="small", flags=flags, detection=shares, **scores)
    (folder / "summary.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Switches that an export sets do not outlive the test."""
    for name in sum(SWITCHES.values(), ()):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def module(monkeypatch, name, **content):
    made = ModuleType(name)
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, name, made)
    return made


@pytest.fixture
def tensorboard(monkeypatch):
    """A writer that remembers."""
    seen = SimpleNamespace(scalars=[], texts={}, parameters=None, figures=None, folder=None)

    class SummaryWriter:
        def __init__(self, log_dir):
            seen.folder = Path(log_dir)
            seen.folder.mkdir(parents=True, exist_ok=True)
            (seen.folder / f"events.out.tfevents.{len(seen.scalars)}").touch()

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, tag, value, step):
            seen.scalars.append((tag, step, value))

        def flush(self):
            seen.flushed = len(seen.scalars)

        def add_text(self, tag, text):
            seen.texts[tag] = text

        def add_hparams(self, parameters, figures, *, run_name, global_step):
            seen.parameters, seen.figures = parameters, figures
            assert (run_name, global_step) == (".", seen.scalars[-1][1])

    module(monkeypatch, "torch.utils.tensorboard", SummaryWriter=SummaryWriter)
    return seen


class MlflowClient:
    """A client that remembers in `seen`, a new one for each test."""

    seen = SimpleNamespace()

    def __init__(self, tracking_uri):
        self.seen.uri = tracking_uri
        self.seen.switches = [os.environ.get(name) for name in SWITCHES["mlflow"]]

    def get_experiment_by_name(self, name):
        number = self.seen.experiments.get(name)
        return SimpleNamespace(experiment_id=number) if number else None

    def create_experiment(self, name, artifact_location):
        self.seen.artifacts = artifact_location
        assert name not in self.seen.experiments
        self.seen.experiments[name] = f"7{len(self.seen.experiments)}"
        return self.seen.experiments[name]

    def create_run(self, experiment, run_name):
        number = f"run {len(self.seen.runs)}"
        self.seen.runs[number] = (experiment, run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id=number))

    def log_param(self, run, key, value):
        assert run in self.seen.runs
        self.seen.parameters[key] = value

    def log_batch(self, run, metrics):
        assert run in self.seen.runs
        assert len(metrics) <= 1000
        self.seen.scalars += metrics

    def log_text(self, run, text, file):
        self.seen.texts[file] = text

    def set_tag(self, run, key, value):
        self.seen.tags[key] = value

    def set_terminated(self, run):
        self.seen.ended.append(run)


def metric(key, value, timestamp, step):
    assert type(timestamp) is int
    return key, step, value


@pytest.fixture
def mlflow(monkeypatch):
    records = {name: {} for name in ("texts", "parameters", "tags", "experiments", "runs")}
    seen = SimpleNamespace(scalars=[], ended=[], **records)
    monkeypatch.setattr(MlflowClient, "seen", seen)
    module(monkeypatch, "mlflow", MlflowClient=MlflowClient)
    module(monkeypatch, "mlflow.entities", Metric=metric)
    return seen


@pytest.fixture
def wandb(monkeypatch):
    """A run that remembers."""
    seen = SimpleNamespace(logged=[], summary={}, ended=False)

    def log(numbers, step):
        seen.logged.append((step, numbers))

    def finish():
        seen.ended = True

    def init(**options):
        seen.options = options
        seen.switches = [os.environ.get(name) for name in SWITCHES["wandb"]]
        where = str(Path(options["dir"]) / "wandb" / "offline-run-1" / "files")
        return SimpleNamespace(log=log, summary=seen.summary, finish=finish, dir=where)

    module(monkeypatch, "wandb", init=init)
    return seen


def numbers_of(path):
    """(name, round, number) of all that rounds.jsonl holds, read without fedsim."""
    found = set()
    for line in (path / "rounds.jsonl").read_text().splitlines():
        record = json.loads(line)
        seconds = {f"seconds/{key}": value for key, value in record.pop("seconds").items()}
        step = record.pop("round")
        found |= {(k, step, v) for k, v in {**record, **seconds}.items() if v is not None}
    return found


def check_parameters(parameters):
    assert parameters["name"] == "small"
    assert parameters["seed"] == 3
    assert parameters["server.aggregator.name"] == "mean"
    assert parameters["clients.training.lr"] == 0.1
    assert parameters["model.hidden"] == "[8]"
    assert None not in parameters.values()


def check_figures(figures):
    detection = dict.fromkeys(["precision", "recall", "false_positive_rate", "auc"], 0.5)
    scores = {"accuracy": 0.75, "attack_success_rate": 0.9, "rounds": 2, "seconds": 1.0}
    classes = {"accuracy_per_class/0": 0.5, "accuracy_per_class/1": 1.0}
    nested = {f"detection/{name}": value for name, value in detection.items()}
    expected = {**scores, **classes, **nested}
    assert figures == {f"summary/{name}": value for name, value in expected.items()}


def test_tensorboard(cli, folder, tensorboard):
    result = cli("export", folder, "--to", "tensorboard")
    assert result.exit_code == 0, result.stderr
    home = folder.parent / "tensorboard"
    assert result.stderr == f"{home / folder.name}\n"
    assert shlex.split(result.stdout)[-3:] == ["tensorboard", "--logdir", str(home)]
    assert set(tensorboard.scalars) == numbers_of(folder)
    assert len(tensorboard.scalars) == len(set(tensorboard.scalars))
    check_parameters(tensorboard.parameters)
    check_figures(tensorboard.figures)
    assert "aggregator: {name: mean" in tensorboard.texts["scenario"]
    assert tensorboard.texts["flags"] == "never_learned: It stayed at chance."


def test_tensorboard_again_replaces_what_it_drew(cli, folder, tensorboard):
    cli("export", folder, "--to", "tensorboard")
    (tensorboard.folder / "notes.txt").write_text("kept")
    first = sorted(path.name for path in tensorboard.folder.glob("events*"))
    cli("export", folder, "--to", "tensorboard")
    left = {path.name for path in tensorboard.folder.iterdir()}
    assert "notes.txt" in left
    assert not left & set(first)
    assert len(left) == 2


def test_mlflow(cli, folder, mlflow):
    result = cli("export", folder, "--to", "mlflow")
    assert result.exit_code == 0, result.stderr
    assert mlflow.uri == f"sqlite:///{folder.parent / 'mlflow.db'}"
    assert mlflow.artifacts == (folder.parent / "mlartifacts").as_uri()
    assert mlflow.switches == ["true"]
    assert mlflow.runs == {"run 0": (mlflow.experiments["small"], folder.name)}
    rounds = {one for one in mlflow.scalars if not one[0].startswith("summary/")}
    assert rounds == numbers_of(folder)
    figures = {key: (step, value) for key, step, value in set(mlflow.scalars) - rounds}
    assert {step for step, _ in figures.values()} == {2}
    check_figures({key: value for key, (_, value) in figures.items()})
    check_parameters(mlflow.parameters)
    assert "aggregator: {name: mean" in mlflow.texts["scenario.yaml"]
    assert mlflow.tags == {"mlflow.note.content": "never_learned: It stayed at chance."}
    assert mlflow.ended == ["run 0"]


def test_mlflow_again_is_another_run_of_the_same_experiment(cli, folder, mlflow):
    for _ in range(2):
        assert cli("export", folder, "--to", "mlflow").exit_code == 0
    assert len(mlflow.runs) == 2
    assert len(mlflow.experiments) == 1


def test_wandb(cli, folder, wandb):
    result = cli("export", folder, "--to", "wandb")
    assert result.exit_code == 0, result.stderr
    offline = folder.parent / "wandb" / "offline-run-1"
    assert result.stderr == f"{offline}\n"
    assert shlex.split(result.stdout)[-3:] == ["wandb", "sync", str(offline)]
    assert wandb.options["mode"] == "offline"
    assert wandb.switches == ["false", "true", "true", "true"]
    assert (wandb.options["project"], wandb.options["name"]) == ("small", folder.name)
    assert wandb.options["config"]["clients"]["training"]["lr"] == 0.1
    assert wandb.options["notes"] == "never_learned: It stayed at chance."
    assert [step for step, _ in wandb.logged] == [0, 1, 2]
    drawn = {(key, step, value) for step, one in wandb.logged for key, value in one.items()}
    assert drawn == numbers_of(folder)
    check_figures(wandb.summary)
    assert wandb.ended


def test_a_run_that_has_not_finished(cli, folder, tensorboard, mlflow, wandb):
    (folder / "summary.json").unlink()
    path = folder / "rounds.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + '{"round": 2, "accur')  # a kill cut the last line off
    for tracker in TRACKERS:
        result = cli("export", folder, "--to", tracker)
        assert result.exit_code == 0, result.stderr
    assert {step for _, step, _ in tensorboard.scalars} == {0, 1}
    assert {step for _, step, _ in mlflow.scalars} == {0, 1}
    assert [step for step, _ in wandb.logged] == [0, 1]
    assert (tensorboard.figures, wandb.summary, mlflow.ended) == ({}, {}, [])
    check_parameters(mlflow.parameters)


def test_a_run_that_is_followed_is_told_as_it_goes(cli, folder, tensorboard, monkeypatch):
    path, end = folder / "rounds.jsonl", folder / "summary.json"
    lines, summary_text = path.read_text().splitlines(keepends=True), end.read_text()
    end.unlink()
    path.write_text(lines[0])
    looks = []

    def goes_on(seconds):
        """What the run does while nobody looks: a round, half a line, its rest, the summary."""
        looks.append({step for _, step, _ in tensorboard.scalars})
        steps = {1: lines[1], 2: lines[2][:20], 3: lines[2][20:]}
        with path.open("a") as file:
            file.write(steps.get(len(looks), ""))
        if len(looks) == 4:
            end.write_text(summary_text)
        assert len(looks) < 6
        assert tensorboard.flushed == len(tensorboard.scalars)

    monkeypatch.setattr(trackers.time, "sleep", goes_on)
    result = cli("export", folder, "--to", "tensorboard", "--follow")
    assert result.exit_code == 0, result.stderr
    assert looks == [{0}, {0, 1}, {0, 1}, {0, 1, 2}]
    followed = list(tensorboard.scalars)
    check_figures(tensorboard.figures)
    assert {(key, step, value) for key, step, value in followed} == numbers_of(folder)
    assert len(followed) == len(numbers_of(folder))  # nothing twice


@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_tracker_that_is_not_installed(cli, folder, monkeypatch, tracker):
    name = "torch.utils.tensorboard" if tracker == "tensorboard" else tracker
    monkeypatch.setitem(sys.modules, name, None)
    result = cli("export", folder, "--to", tracker)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"fedsim export: --to: {tracker} cannot be imported: ")
    assert result.stderr.endswith(f" Install it with: pip install 'fedsim[{tracker}]'\n")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_every_tracker_has_an_extra():
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert tuple(trackers.TRACKERS) == TRACKERS
    assert set(TRACKERS) <= set(extras)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nowhere", "--to", "wandb"), "nowhere: there is no such folder."),
        ((".", "--to", "wandb"), ".: is not the folder of a run or a sweep: it has neither"),
        (("sweep", "--to", "wandb"), "sweep: is a sweep. Export its runs, the folders beside it."),
        (("x", "--to", "aim"), "fedsim export: --to: 'aim' is not one of 'tensorboard', 'mlflow',"),
        (("x",), "fedsim export: Missing option '--to'."),
        ((), "fedsim export: Missing argument 'RUN'."),
    ],
)
def test_wrong_input(cli, tmp_path, monkeypatch, wandb, arguments, line):
    monkeypatch.chdir(tmp_path)
    sweep = {"name": "a", "scenario": {}, "cells": []}
    Path("sweep").mkdir()
    Path("sweep/sweep.json").write_text(json.dumps(sweep))
    result = cli("export", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1
    assert not hasattr(wandb, "options")


def test_the_run_one_stands_in(cli, folder, tensorboard, monkeypatch):
    monkeypatch.chdir(folder)
    result = cli("export", ".", "--to", "tensorboard")
    assert result.stderr == f"{folder.parent / 'tensorboard' / folder.name}\n"


def test_where_nothing_can_be_written(cli, folder, tensorboard):
    (folder.parent / "tensorboard").write_text("a file")
    result = cli("export", folder, "--to", "tensorboard")
    assert result.exit_code == 2
    assert ": cannot be written: Not a directory.\n" in result.stderr


@pytest.mark.parametrize("odd", ["true", "1e999", f"1{'0' * 400}", '"0.5"', "[]"])
def test_what_no_tracker_can_draw_is_left_out(cli, folder, tensorboard, odd):
    path = folder / "rounds.jsonl"
    text = path.read_text().replace('"num_failed": 0', f'"num_failed": 0, "odd": {odd}')
    path.write_text(text)
    assert cli("export", folder, "--to", "tensorboard").exit_code == 0
    assert "odd" in text
    names = {name for name, _, _ in tensorboard.scalars}
    assert "num_malicious" in names
    assert "odd" not in names


def test_fedsim_imports_no_tracker_on_its_own():
    code = (
        "import sys, fedsim.export, fedsim.reporting, fedsim.results\n"
        "print(sorted({'tensorboard', 'mlflow', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_real_tensorboard_reads_it_back(cli, folder):
    loading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for _ in range(2):
        result = cli("export", folder, "--to", "tensorboard")
        assert result.exit_code == 0, result.stderr
    events = loading.EventAccumulator(str(folder.parent / "tensorboard" / folder.name))
    events.Reload()
    drawn = {
        (tag, event.step): event.value
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
    }
    told = {(name, step): value for name, step, value in numbers_of(folder)}
    assert {key for key in drawn if not key[0].startswith("summary/")} == set(told)
    for key, value in told.items():
        assert drawn[key] == pytest.approx(value, rel=1e-6)  # kept in single precision
    assert drawn["summary/accuracy", 2] == 0.75
    assert len(events.Scalars("accuracy")) == 2
