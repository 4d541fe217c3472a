"""Ray's way out of one machine: two nodes of a cluster, and a worker killed from outside."""

import gc
import logging
import time
from contextlib import contextmanager
from threading import Thread

import psutil
import pytest

from fedsim.flower import run_rounds
from fedsim.scenario import load
from fedsim.simulation import prepare
from fedsim.tensors import state_sha256
from fedsim.types import DataSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SCENARIO = {
    "name": "cluster",
    "seed": 4,
    "rounds": 3,
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {"total": 12, "per_round": 4, "training": {"lr": 0.1, "batch_size": 16}},
    "server": {"aggregator": {"name": "median"}},
    "adversary": {"clients": 2, "attack": {"name": "sign_flip"}},
    # Everybody takes a second of round 2, which is time to be killed in.
    "faults": [{"name": "slow", "rounds": [2], "seconds": 1.0}],
}


def play(tmp_path, on_round=lambda round_: None, **engine):
    """The hash of the final parameters and all records but their times."""
    federation = prepare(load({**SCENARIO, "engine": engine})[0].scenario, DataSource(tmp_path))
    records = []

    def note(state, record):
        records.append(record)
        on_round(state.round)

    state = run_rounds(federation, None, note)
    rounds = [{k: v for k, v in record.round.items() if k != "seconds"} for record in records]
    digest = state_sha256({"params": state.params, "buffers": state.buffers})
    return digest, rounds, [record.clients for record in records]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return play(tmp_path_factory.mktemp("data"))


@contextmanager
def cluster(*cpus):
    """The address of a Ray cluster of this machine with a node for each count of `cpus`."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    nodes = Cluster()
    try:
        for count in cpus:
            nodes.add_node(num_cpus=count, include_dashboard=False)
        yield nodes.address
    finally:
        nodes.shutdown()
        gc.collect()


def actors(busy):
    """The actors of this process's cluster, in the middle of a client or between two."""
    for process in psutil.Process().children(recursive=True):
        try:
            title = " ".join(process.cmdline()).split()
        except psutil.Error:
            continue
        if title[:1] == ["ray::_Actor.train" if busy else "ray::_Actor"]:
            yield process


def wait_for(condition):
    late = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < late
        time.sleep(0.02)
    return found


def test_two_nodes_and_a_killed_worker_give_the_bits_of_one_process(here, tmp_path):
    homes, killed = set(), []

    def kill():
        first = wait_for(lambda: list(actors(busy=True)))[0]
        first.kill()
        killed.append(first.pid)

    killer = Thread(target=kill)

    def on_round(round_):
        if round_ == 1:
            both = wait_for(lambda: len(found := list(actors(busy=False))) == 2 and found)
            homes.update(actor.ppid() for actor in both)
            killer.start()

    with cluster(1, 1) as address:
        there = play(tmp_path, on_round, name="ray", address=address, workers=2)
    killer.join()
    assert len(homes) == 2
    assert len(killed) == 1
    assert there == here


def test_a_cluster_with_too_few_cpus_is_told(here, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("fedsim.flower.pool.SLOW_START", 3.0)
    with cluster(1) as address, caplog.at_level(logging.INFO, logger="fedsim.start"):
        assert play(tmp_path, name="ray", address=address, workers=2) == here
    lines = [record.getMessage() for record in caplog.records]
    assert f"joining Ray at {address}" in lines
    assert "starting 2 Ray workers" in lines
    assert any("of 2 Ray workers are ready after" in line and "CPU" in line for line in lines)
