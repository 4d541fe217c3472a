"""The same numbers from every engine and any number of workers, bit for bit on the CPU."""

import gc
import os
import socket
import subprocess
import sys

import pytest

from fedsim.errors import RunError
from fedsim.flower import run_rounds
from fedsim.scenario import load
from fedsim.simulation import prepare
from fedsim.tensors import state_sha256
from fedsim.types import DataSource

HUNDREDS = {
    "name": "hundreds",
    "seed": 3,
    "rounds": 2,
    "data": {"partition": {"name": "dirichlet", "alpha": 0.5}},
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {
        "total": 300,
        "per_round": 60,
        "training": {"epochs": 1, "batch_size": 8, "lr": 0.1, "momentum": 0.9},
    },
    "server": {
        "preaggregators": [{"name": "clip", "norm": 1.0}],
        "aggregator": {"name": "auror", "alpha": 0.02, "observe_rounds": 2},
        "postaggregators": [{"name": "gaussian_noise", "std": 0.01}],
    },
    "adversary": {
        "clients": 12,
        "schedule": {"forced": True},
        "poison": {
            "name": "distributed_backdoor",
            "target": 2,
            "per_batch": 4,
            "trigger": {"name": "dba", "size": 2, "gap": 2},
        },
        "training": {
            "epochs": 3,
            "constraints": [{"name": "projection", "norm": "l2", "radius": 1.0}],
        },
        "attack": {"name": "boost", "factor": 3.0},
    },
}


def play(tmp_path, **engine):
    """The final parameters' hash and all records but their times."""
    scenario = load({**HUNDREDS, "engine": engine})[0].scenario
    federation = prepare(scenario, DataSource(tmp_path))
    records = []
    state = run_rounds(federation, None, lambda _, record: records.append(record))
    digest = state_sha256({"params": state.params, "buffers": state.buffers})
    rounds = [{k: v for k, v in record.round.items() if k != "seconds"} for record in records]
    return digest, rounds, [record.clients for record in records]


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    return play(tmp_path_factory.mktemp("data"))


def test_a_run_of_hundreds_of_clients_tells_who_took_part(sequential):
    _, rounds, clients = sequential
    assert [record["round"] for record in rounds] == [0, 1, 2]
    assert all(len(records) == 60 for records in clients[1:])
    assert all(record["num_malicious"] == 12 for record in rounds[1:])
    ids = [record["client"] for record in clients[1]]
    assert ids == sorted(set(ids))


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files and processes to the
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # collector
def test_ray_gives_the_same_bits(sequential, tmp_path):
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()
    assert play(tmp_path, name="ray", workers=2) == sequential
    assert not ray.is_initialized()
    gc.collect()


def test_two_workers_elsewhere_with_another_hash_seed_give_the_same_bits(
    sequential, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONHASHSEED", str(int(os.environ.get("PYTHONHASHSEED") or 0) + 1))
    assert play(tmp_path, workers=2) == sequential


def test_a_script_without_a_main_guard_may_use_worker_processes(tmp_path):
    scenario = {**HUNDREDS, "rounds": 1, "engine": {"workers": 2}}
    script = f"import fedsim\nprint(fedsim.run({scenario!r}, output={str(tmp_path)!r}))\n"
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, str(tmp_path / "script.py")]
    ran = subprocess.run(command, capture_output=True, timeout=120, encoding="utf-8", check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("Run(hundreds-")


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path):
    pytest.importorskip("ray")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, but nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RunError, match="nobody answers at 127"):
            play(tmp_path, name="ray", address=address)
