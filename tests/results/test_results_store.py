"""The run folder: nothing half-written survives, nothing damaged is believed."""

import json
import os
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import yaml

from fedsim.errors import InputError, RunError
from fedsim.results import RunFolder
from fedsim.results.checkpoint import sealed
from fedsim.results.store import to_yaml
from fedsim.tensors import state_sha256
from tests.results.result_records import SCENARIO, client_record, round_record, write_run


def strict(text):
    def refuse(constant):
        raise AssertionError(constant)

    return json.loads(text, parse_constant=refuse)


def names(folder):
    return sorted(path.name for path in folder.path.iterdir())


def test_what_lies_there_before_and_after_the_end(tmp_path):
    records = ["clients.jsonl", "environment.json", "rounds.jsonl", "scenario.yaml"]
    begun = write_run(tmp_path / "a", finish=False)
    assert names(begun) == sorted(["checkpoint.pt", *records])
    assert begun.exists
    assert not begun.finished
    ended = write_run(tmp_path / "b")
    assert names(ended) == sorted([*records, "model.safetensors", "summary.json"])
    assert ended.finished
    assert not RunFolder(tmp_path / "c").exists


def test_round_trip(finished):
    assert finished.scenario() == SCENARIO
    assert list(finished.scenario()) == list(SCENARIO)
    assert finished.environment() == {"fedsim": "0.1.0", "device": "cpu"}
    assert finished.rounds() == [round_record(0, 0.1), round_record(1, 0.5), round_record(2, 0.9)]
    assert finished.clients()[0] == client_record(1, 0, 0.5)
    assert len(finished.clients()) == 4
    assert finished.summary()["accuracy"] == 0.9
    assert torch.equal(finished.model()["weight"], torch.arange(3.0))


def test_nothing_that_is_not_json_is_written(unfinished):
    loss = {"loss": float("nan"), "update_norm": float("inf"), "note": "ä"}
    unfinished.append(round_record(3, **loss), [client_record(3, 0, float("-inf"))])
    unfinished.finish({}, {"name": "x", "at": {10: float("nan")}, "pair": (1, float("inf"))})
    for line in (unfinished.path / "rounds.jsonl").read_text().splitlines():
        strict(line)
    assert unfinished.rounds()[-1]["loss"] is None
    assert unfinished.rounds()[-1]["update_norm"] is None
    assert unfinished.clients()[-1]["weight"] is None
    summary = strict((unfinished.path / "summary.json").read_text())
    assert summary == {"name": "x", "at": {"10": None}, "pair": [1, None]}


def test_a_value_that_is_no_record_is_refused(unfinished):
    with pytest.raises(TypeError):
        unfinished.append({"round": 3, "accuracy": torch.tensor(1.0)}, [])


@pytest.mark.parametrize("name", ["rounds.jsonl", "clients.jsonl"])
def test_a_kill_at_any_byte_of_the_last_line(unfinished, name):
    """Killed while it wrote round 2, a run resumed from the checkpoint of round 1 is whole."""
    path, other = unfinished.path / name, unfinished.path / "rounds.jsonl"
    data, rounds = path.read_bytes(), other.read_bytes()
    start = data[:-1].rfind(b"\n") + 1
    expected = [record for record in unfinished.clients() if record["round"] <= 1]
    for end in range(start, len(data)):
        path.write_bytes(data[:end])
        assert [record["round"] for record in unfinished.rounds()][:2] == [0, 1]
        unfinished.truncate(1)
        assert [record["round"] for record in unfinished.rounds()] == [0, 1]
        assert unfinished.clients() == expected
        assert path.read_bytes() == b"".join(
            line for line in data.splitlines(keepends=True) if strict(line)["round"] <= 1
        )
        other.write_bytes(rounds)


def test_a_resumed_run_has_the_bytes_of_an_unbroken_one(unfinished):
    paths = [unfinished.path / name for name in ("rounds.jsonl", "clients.jsonl")]
    unbroken = [path.read_bytes() for path in paths]
    record, clients = unfinished.rounds()[2], unfinished.clients()[2:]
    unfinished.truncate(1)
    unfinished.append(record, clients)
    assert [path.read_bytes() for path in paths] == unbroken


def test_truncating_to_before_the_first_round(unfinished):
    unfinished.truncate(-1)
    assert unfinished.rounds() == unfinished.clients() == []


def test_records_that_end_before_the_checkpoint(unfinished):
    with pytest.raises(InputError, match=r"rounds.jsonl: the records end at round 2.*of round 5"):
        unfinished.truncate(5)


@pytest.mark.parametrize(
    "line",
    [
        b'{"round": 1, "accura',
        b"",
        b"[1]",
        b'{"accuracy": 0.5}',
        b'{"round": true}',
        b'{"round": 1, "loss": NaN}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_a_broken_line_in_the_middle(unfinished, line):
    path = unfinished.path / "rounds.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    for read in (unfinished.rounds, lambda: unfinished.truncate(1)):
        with pytest.raises(InputError) as error:
            read()
        assert str(error.value).startswith(f"{path}: line 2: ")
        assert "\n" not in str(error.value)


def test_a_finished_run_may_not_end_in_half_a_line(finished):
    path = finished.path / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    assert len(finished.rounds()) == 3
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="line 3: is not valid JSON"):
        finished.rounds()


def test_a_checkpoint_comes_back(unfinished):
    whole = torch.arange(1000.0)
    state = {
        "round": 2,
        "params": whole[:3],
        "rule": {"history": torch.ones(2, 3, dtype=torch.float64), "ids": [1, 2]},
        "attack": ({"x": None}, {}),
        "generator": torch.Generator().get_state(),
        "flags": {"precondition_broken": [1]},
        "seconds": 0.5,
        "model": OrderedDict(weight=torch.ones(2)),
    }
    unfinished.save_checkpoint(state)
    found = unfinished.load_checkpoint()
    assert list(found) == list(state)
    assert torch.equal(found["params"], torch.arange(3.0))
    assert found["params"].untyped_storage().nbytes() == 12
    assert torch.equal(found["generator"], state["generator"])
    assert torch.equal(found["rule"]["history"], state["rule"]["history"])
    for key in ("round", "attack", "flags", "seconds"):
        assert found[key] == state[key]
    assert found["rule"]["ids"] == [1, 2]


def test_a_checkpoint_reaches_the_disk_after_the_records_once_a_second(unfinished, monkeypatch):
    synced, now = [], [100.0]
    monkeypatch.setattr("os.fsync", lambda file: synced.append(os.fstat(file).st_ino))
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    folder = RunFolder(unfinished.path)
    files = ["clients.jsonl", "rounds.jsonl", "checkpoint.pt"]
    for moment, reaches in ((100.0, True), (100.9, False), (101.0, True)):
        synced.clear()
        now[0] = moment
        folder.save_checkpoint({"round": 2})
        expected = [(folder.path / name).stat().st_ino for name in files]
        assert synced == (expected if reaches else [])
        assert folder.load_checkpoint() == {"round": 2}


def test_no_checkpoint(tmp_path, finished):
    assert RunFolder(tmp_path / "nowhere").load_checkpoint() is None
    assert finished.load_checkpoint() is None


@pytest.mark.parametrize("value", [{1, 2}, object(), [slice(1)], {"a": ({"b": print},)}])
def test_what_a_checkpoint_cannot_hold(unfinished, value):
    before = (unfinished.path / "checkpoint.pt").read_bytes()
    with pytest.raises(RunError, match=r"checkpoint\.rule.*got "):
        unfinished.save_checkpoint({"rule": value})
    assert (unfinished.path / "checkpoint.pt").read_bytes() == before


def test_a_damaged_checkpoint(unfinished):
    path = unfinished.path / "checkpoint.pt"
    data = path.read_bytes()
    for damaged in (b"", b"junk", data[: len(data) // 2], data[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"checkpoint\.pt: is not a checkpoint"):
            unfinished.load_checkpoint()


def test_a_checkpoint_cut_anywhere(unfinished):
    path = unfinished.path / "checkpoint.pt"
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"checkpoint\.pt: is not a checkpoint"):
            unfinished.load_checkpoint()


class Evil:
    def __reduce__(self):
        return (os.abort, ())


def test_a_checkpoint_runs_no_code(unfinished):
    path = unfinished.path / "checkpoint.pt"
    for held in ({"round": Evil()}, [1]):
        torch.save(held, path)
        path.write_bytes(sealed(path.read_bytes()))
        with pytest.raises(InputError, match="is not a checkpoint"):
            unfinished.load_checkpoint()


def test_a_checkpoint_changed_anywhere(unfinished):
    """A number changed on the disk would go on to another end, and nothing would say so."""
    path = unfinished.path / "checkpoint.pt"
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(InputError, match="is not a checkpoint"):
            unfinished.load_checkpoint()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_kill_while_a_file_is_replaced_leaves_the_old_one(unfinished, monkeypatch, moment):
    def kill(*_):
        raise Killed

    before = unfinished.load_checkpoint()
    target = "os.fsync" if moment == "fsync" else "pathlib.Path.replace"
    with monkeypatch.context() as patch:
        patch.setattr(target, kill)
        with pytest.raises(Killed):
            unfinished.save_checkpoint({"round": 3})
        with pytest.raises(Killed):
            unfinished.truncate(1)
    assert unfinished.load_checkpoint()["round"] == before["round"] == 2
    assert len(unfinished.rounds()) == 3
    assert not list(unfinished.path.glob("*.tmp"))


def test_a_kill_while_it_finishes_leaves_it_unfinished(unfinished, monkeypatch):
    import fedsim.results.store as store

    written = []
    whole = store.write_json
    monkeypatch.setattr(store, "write_json", lambda path, value: written.append(names(unfinished)))
    (unfinished.path / "checkpoint.pt.tmp").write_bytes(b"half")
    unfinished.finish({"w": torch.ones(1)}, {"name": "x"})
    assert not unfinished.finished
    assert "model.safetensors" in written[0]
    assert "checkpoint.pt" in written[0], "until the summary is there, a resume needs it"
    assert unfinished.load_checkpoint() is not None
    monkeypatch.setattr(store, "write_json", whole)
    unfinished.finish({"w": torch.ones(1)}, {"name": "x"})
    assert unfinished.finished
    assert not any(name.startswith("checkpoint") for name in names(unfinished))


def test_a_checkpoint_that_a_kill_left_in_a_finished_run_goes(finished):
    (finished.path / "checkpoint.pt").write_bytes(b"old")
    finished.tidy()
    assert "checkpoint.pt" not in names(finished)


def test_a_checkpoint_of_an_unfinished_run_stays(unfinished):
    unfinished.tidy()
    assert unfinished.load_checkpoint()["round"] == 2


def test_a_resumed_run_says_where_it_went_on_otherwise(tmp_path):
    folder = RunFolder(tmp_path)
    folder.start({}, {"torch": "2.4", "threads": 1})
    folder.note_move(3, {"torch": "2.4", "threads": 1})
    assert "moved" not in folder.environment()
    folder.note_move(5, {"torch": "2.5", "threads": 1})
    folder.note_move(7, {"torch": "2.5", "threads": 1})
    folder.note_move(8, {"torch": "2.4", "threads": 1})
    found = folder.environment()
    assert (found["torch"], found["threads"]) == ("2.4", 1)
    assert found["moved"] == [
        {"after_round": 5, "torch": "2.5"},
        {"after_round": 8, "torch": "2.4"},
    ]


class Full:
    """A disk on which nothing can be written any more."""

    def __init__(self, *_, **__):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda folder: folder.append(round_record(3), []), "clients.jsonl"),
        (lambda folder: folder.truncate(1), "clients.jsonl"),
        (lambda folder: folder.save_checkpoint({"round": 3}), "clients.jsonl"),
        (lambda folder: folder.finish({}, {"name": "x"}), "model.safetensors"),
        (lambda folder: folder.note_move(2, {"torch": "x"}), "environment.json"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_and_takes_nothing_away(
    unfinished, monkeypatch, write, name
):
    before = {path.name: path.read_bytes() for path in unfinished.path.iterdir()}
    with monkeypatch.context() as patch:
        whole = Path.open
        patch.setattr(
            Path, "open", lambda path, mode="r", *a: (Full if mode != "rb" else whole)(path, mode)
        )
        with pytest.raises(RunError) as told:
            write(unfinished)
    text = str(told.value)
    assert text.startswith(f"{unfinished.path / name}: cannot be written: No space left on device.")
    assert text.endswith(f"Go on with: fedsim resume {unfinished.path}")
    assert "\n" not in text
    assert {path.name: path.read_bytes() for path in unfinished.path.iterdir()} == before


def test_starting_anew_removes_the_old_results(finished):
    (finished.path / "report.html").write_text("old")
    (finished.path / "run.log").write_text("kept")
    finished.start(SCENARIO, {})
    assert not finished.finished
    assert finished.rounds() == finished.clients() == []
    names_left = ["clients.jsonl", "environment.json", "rounds.jsonl", "run.log", "scenario.yaml"]
    assert names(finished) == names_left


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/run: cannot be written: .*output folder"):
        RunFolder(tmp_path / "file" / "run").start({}, {})


def test_the_model_keeps_its_order_and_its_hash(unfinished):
    from hashlib import sha256

    from safetensors.torch import load_file

    model = {
        "z.weight": torch.randn(3, 2, generator=torch.Generator().manual_seed(1)).T,
        "bn.num_batches_tracked": torch.tensor(3),
        "a.bias": torch.zeros(0),
        "half": torch.ones(1, dtype=torch.float16),
        "b.mask": torch.tensor([True, False]),
        "shared": torch.arange(4.0)[1:3],
    }
    unfinished.finish(model, {"name": "x"})
    read = unfinished.model()
    assert list(read) == list(model)
    for name, tensor in model.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor)
    assert state_sha256(read) == state_sha256(model)
    path = unfinished.path / "model.safetensors"
    data = path.read_bytes()
    body = data[8 + int.from_bytes(data[:8], "little") :]
    assert sha256(body).hexdigest() == state_sha256(model)
    assert {name: t.shape for name, t in load_file(path).items()} == {
        name: t.shape for name, t in model.items()
    }


def test_a_damaged_model(finished):
    path = finished.path / "model.safetensors"
    data = path.read_bytes()
    for damaged in (b"", b"junk", data[:-1], data[:20]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is not a safetensors file"):
            finished.model()


def test_scenario_text_reads_the_same_under_both_yamls():
    shared = {"name": "mean"}
    tree = {
        "name": "12e45678",
        "texts": ["1e-3", "0o17", "on", "yes", "nan", "1_0", "2026-01-01", "a: b", "ä", ""],
        "numbers": [1e-05, 1e20, 5e-4, 0, True, None, 3.0],
        "lr": {1: 1.0, 11: 0.1},
        "twice": [shared, shared],
        "pair": (2, 3),
    }
    text = to_yaml(tree)
    assert yaml.safe_load(text) == {**tree, "pair": [2, 3]}
    assert "'12e45678'" in text
    assert "'1e-3'" in text
    assert "&" not in text
    assert text.index("name") < text.index("texts") < text.index("pair")


def test_unreadable_folders(tmp_path, finished):
    empty = RunFolder(tmp_path)
    with pytest.raises(InputError, match="is not the folder of a run"):
        empty.summary()
    with pytest.raises(InputError, match=r"rounds.jsonl: cannot be read: No such file"):
        empty.rounds()
    for text in ("", "{", '{"name": "x"', "[]", '{"name": "x"}', "{: :", '{"accuracy": NaN}'):
        (finished.path / "summary.json").write_text(text)
        with pytest.raises(InputError) as error:
            finished.summary()
        assert str(error.value).startswith(f"{finished.path / 'summary.json'}: ")
    (finished.path / "scenario.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"scenario\.yaml:1:5: scenario: is not valid YAML"):
        finished.scenario()


def test_a_summary_cut_anywhere_is_an_error(finished):
    path = finished.path / "summary.json"
    data = path.read_bytes().rstrip()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(InputError):
            finished.summary()
