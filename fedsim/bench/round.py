"""Where the time of a run goes: training, messages, aggregation, evaluation, writing."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from statistics import median
from typing import Any, TypedDict

from rich.table import Table

from fedsim import api
from fedsim.bench.machine import Machine, machine, told
from fedsim.flower import client_app
from fedsim.flower.client_app import torch_threads
from fedsim.results import RunFolder
from fedsim.results.files import read_lines

SCENARIO: dict[str, Any] = {
    "name": "bench-round",
    "seed": 1,
    "rounds": 40,
    "clean_twin": True,
    "data": {"dataset": {"name": "digits"}, "partition": {"name": "dirichlet", "alpha": 1.0}},
    "model": {"name": "mlp", "hidden": [64]},
    "clients": {
        "total": 60,
        "per_round": 20,
        "training": {"epochs": 2, "batch_size": 16, "lr": 0.1, "momentum": 0.9},
    },
    "adversary": {
        "clients": [3, 11, 22, 35],
        "schedule": {"first": 11, "last": 25, "forced": True},
        "poison": {
            "name": "distributed_backdoor",
            "target": 2,
            "per_batch": 8,
            "trigger": {"name": "dba", "size": 2, "gap": 2},
        },
        "training": {"epochs": 6, "lr": 0.05},
        "attack": {"name": "boost", "factor": 5.0},
    },
    "engine": {"device": "cpu"},
}
"""The first cell of quickstart: the smallest model, and so the dearest surroundings."""

PARTS = ("train", "message", "aggregate", "evaluate", "write", "report", "other")


class Measurement(TypedDict):
    """Seconds of a whole run against those of its training and evaluation, `floor_s`.

    `seconds` divides the whole into its parts: `train` is the clients' own work, `message` the rest
    of the training phase, `write` records and checkpoints, `report` the page with its figures,
    `other` what is left; `share` is floor over whole. `rounds` counts the clean twin's too.
    """

    measured_s: float
    floor_s: float
    ratio: float
    share: float
    seconds: dict[str, float]
    rounds: int
    clients: int
    repeats: int
    machine: Machine


def measure(*, repeats: int = 3, **changes: Any) -> Measurement:
    """Run a scenario like quickstart `repeats` times after once that loads what is loaded late.

    `changes` replace keys of the scenario. Every number is the median over the runs.
    """
    facts = machine()
    scenario = {**SCENARIO, **changes}
    with torch_threads(1):
        _run(scenario)
        runs = [_run(scenario) for _ in range(repeats)]
    whole = median(sum(parts.values()) for parts in runs)
    needed = median(parts["train"] + parts["evaluate"] for parts in runs)
    return Measurement(
        measured_s=whole,
        floor_s=needed,
        ratio=whole / needed,
        share=needed / whole,
        seconds={part: median(parts[part] for parts in runs) for part in PARTS},
        rounds=scenario["rounds"] * (1 + scenario["clean_twin"]),
        clients=scenario["clients"]["per_round"],
        repeats=repeats,
        machine=facts,
    )


def _run(scenario: dict[str, Any]) -> dict[str, float]:
    """Seconds of each part of a run in a folder that goes with it."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        visits = stack.enter_context(clocked(client_app, "visit"))
        names = ("start", "append", "save_checkpoint", "finish")
        writes = [stack.enter_context(clocked(RunFolder, name)) for name in names]
        reports = stack.enter_context(clocked(api, "report"))
        started = time.perf_counter()
        api.run(scenario, output=folder)
        whole = time.perf_counter() - started
        records = [
            line["seconds"]
            for path in Path(folder).glob("*/rounds.jsonl")
            for line in read_lines(path, whole=True)
        ]
    phase, aggregate, evaluate = (
        sum(seconds[name] for seconds in records) for name in ("train", "aggregate", "evaluate")
    )
    train, write, report = sum(visits), sum(map(sum, writes)), sum(reports)
    return {
        "train": train,
        "message": phase - train,
        "aggregate": aggregate,
        "evaluate": evaluate,
        "write": write,
        "report": report,
        "other": whole - phase - aggregate - evaluate - write - report,
    }


@contextmanager
def clocked(owner: Any, name: str) -> Iterator[list[float]]:
    """The seconds of every call of the function `name` of `owner` inside the block."""
    function: Callable[..., Any] = getattr(owner, name)
    seconds: list[float] = []

    @wraps(function)
    def timed(*arguments: Any, **keywords: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*arguments, **keywords)
        finally:
            seconds.append(time.perf_counter() - started)

    setattr(owner, name, timed)
    try:
        yield seconds
    finally:
        setattr(owner, name, function)


def table(measurement: Measurement) -> Table:
    """The parts of the run as a table."""
    m = measurement
    shown = Table(
        title=f"{m['rounds']} rounds of {m['clients']} clients like quickstart\n"
        f"{told(m['machine'])}",
        caption=f"training and evaluation: {m['floor_s']:.2f} s of {m['measured_s']:.2f} s, "
        f"{m['share']:.0%}; the whole is {m['ratio']:.2f} times as long",
    )
    for heading in ("part", "seconds", "ms a round", "share"):
        shown.add_column(heading, justify="left" if heading == "part" else "right")
    for part, seconds in m["seconds"].items():
        per_round = f"{1000 * seconds / m['rounds']:.1f}"
        shown.add_row(part, f"{seconds:.3f}", per_round, f"{seconds / m['measured_s']:.0%}")
    return shown
