"""Many clients, many rounds, many runs: memory stays flat and nothing is left behind."""

import gc
import os
from pathlib import Path

import psutil
import pytest

import fedsim
from fedsim.flower import run_rounds
from fedsim.scenario import load
from fedsim.simulation import prepare
from fedsim.types import DataSource

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray leaves them to the collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MIB = 2**20

THOUSAND = {
    "name": "thousand",
    "rounds": 20,
    "evaluate_every": 5,
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {"total": 1000, "per_round": 200, "training": {"lr": 0.1, "batch_size": 8}},
    "server": {"aggregator": {"name": "auror", "observe_rounds": 5}},
}

TINY = {
    "name": "tiny",
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 6, "per_round": 6, "training": {"lr": 0.1}},
    "server": {"aggregator": {"name": "median"}},
    "adversary": {
        "clients": 1,
        "poison": {"name": "label_flip", "mode": "pair", "source": 1, "target": 7},
    },
}


def memory() -> int:
    """Bytes that this process and all it started hold for themselves."""
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_full_info().uss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def belongings() -> tuple[int, int, int]:
    """How many processes, open files and sockets, and threads this process has."""
    gc.collect()
    me = psutil.Process()
    # Python keeps one tracker of shared memory for good; what was ended may take a moment to go.
    children = [p for p in me.children(recursive=True) if "resource_tracker" not in _line(p)]
    _, alive = psutil.wait_procs(children, timeout=10)
    return len(alive), len(os.listdir("/proc/self/fd")), me.num_threads()


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.parametrize(
    "engine",
    [
        {"workers": 1},
        {"workers": 2},
        pytest.param({"name": "ray", "workers": 2}, marks=pytest.mark.ray),
    ],
    ids=["one", "processes", "ray"],
)
def test_a_thousand_clients_take_no_more_memory_round_by_round(tmp_path, engine):
    if engine.get("name") == "ray":
        pytest.importorskip("ray")
    federation = prepare(load({**THOUSAND, "engine": engine})[0].scenario, DataSource(tmp_path))
    held = []
    before = belongings()
    run_rounds(federation, None, lambda _, record: held.append(memory()))
    after = belongings()
    print(f"MiB after each round: {[round(bytes_ / MIB) for bytes_ in held]}")
    assert max(held[-5:]) - max(held[3:8]) < 24 * MIB
    assert after[0] == before[0]
    assert after[1] <= before[1] + 4  # Flower's and Ray's own logs, opened once


def test_two_hundred_runs_in_one_process_leave_nothing(tmp_path: Path):
    for seed in range(30):  # the allocator takes its share in the first runs
        fedsim.run({**TINY, "seed": seed}, output=tmp_path)
    held, before = memory(), belongings()
    for seed in range(30, 230):
        fedsim.run({**TINY, "seed": seed}, output=tmp_path)
    grown = memory() - held
    print(f"200 runs: {grown / MIB:.1f} MiB more, {before} -> {belongings()}")
    assert grown < 8 * MIB
    assert belongings() == before
