"""What a round of fedsim costs above the same SGD steps and forwards in a bare PyTorch loop."""

from collections.abc import Callable
from functools import partial
from typing import TypedDict

from rich.table import Table
from torch import Tensor

from fedsim.bench.machine import Machine, machine, told
from fedsim.bench.turns import Action, Contestant, Rounds, Timing, measure_in_turn
from fedsim.bench.workload import (
    MATRIX_FLOPS,
    bare_forward,
    bare_round,
    make_federation,
    matrix_product,
    round_flops,
)
from fedsim.flower.client_app import torch_threads
from fedsim.flower.engine import num_workers
from fedsim.simulation import Federation
from fedsim.simulation.evaluation import evaluate
from fedsim.spawning import num_cores
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import to_float

BATCHES = (100, 500, 1000)
"""Images at a time for the plain forward; the fastest is the floor."""


class Figure(TypedDict):
    """`what` took `measured_s` seconds, its floor `floor_s`; `ratio` is the one over the other."""

    what: str
    measured_s: float
    floor: str
    floor_s: float
    ratio: float


class Measurement(TypedDict):
    """A round through fedsim with one worker against the bare loop with one thread, and more.

    `steps` counts the SGD steps of the round over all its clients, `evaluated` the test images that
    it classifies; `startup_s` is what the workers take before their first round.
    """

    measured_s: float
    floor_s: float
    ratio: float
    clients: int
    steps: int
    evaluated: int
    workers: int
    startup_s: float
    gflops: float
    matmul_gflops_per_s: float
    repeats: int
    threads: int
    device: str
    machine: Machine
    figures: list[Figure]


def measure(
    *,
    clients: int = 50,
    batches: int = 5,
    batch_size: int = 64,
    num_test: int = 10_000,
    repeats: int = 7,
) -> Measurement:
    """Medians over `repeats` rounds of LeNet-5, everything measured in turn."""
    facts = machine()
    federation = make_federation(clients, batches, batch_size, num_test=num_test)
    shape = (clients, batches, batch_size)
    team = make_federation(*shape, num_test=num_test, workers="auto")
    images = to_float(federation.data.train.images)
    with torch_threads(1):
        times = measure_in_turn(_contestants(federation, team, images), repeats)
        flops = round_flops(federation, images)
    rate = MATRIX_FLOPS / times["matmul"].seconds
    figures = _figures(times, flops / rate, num_workers(team.scenario))
    return Measurement(
        measured_s=figures[0]["measured_s"],
        floor_s=figures[0]["floor_s"],
        ratio=figures[0]["ratio"],
        clients=clients,
        steps=clients * batches,
        evaluated=num_test,
        workers=num_workers(team.scenario),
        startup_s=times["workers"].startup,
        gflops=flops / 1e9,
        matmul_gflops_per_s=rate / 1e9,
        repeats=repeats,
        threads=1,
        device=str(federation.device),
        machine=facts,
        figures=figures,
    )


def _contestants(federation: Federation, team: Federation, images: Tensor) -> dict[str, Contestant]:
    test, model = to_float(federation.data.test.images), federation.build_model()
    params, buffers = flatten_params(model), flatten_buffers(model)

    def bare() -> None:
        bare_round(federation, images)
        bare_forward(model, test)

    forwards = {
        f"forward {size}": Action(partial(bare_forward, model, test, size)) for size in BATCHES
    }
    return {
        "round": Rounds(federation),
        "bare": Action(bare),
        "workers": Rounds(team),
        "all threads": Action(_with_threads(num_cores(), bare)),
        "evaluation": Action(lambda: evaluate(federation, model, params, buffers)),
        **forwards,
        "matmul": Action(matrix_product()),
    }


def _with_threads(count: int, action: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with torch_threads(count):
            action()

    return run


def _figures(times: dict[str, Timing], arithmetic: float, workers: int) -> list[Figure]:
    seconds = {name: timing.seconds for name, timing in times.items()}
    forward = min((name for name in seconds if name.startswith("forward")), key=seconds.__getitem__)
    one, team = "round, 1 worker", f"round, workers: auto ({workers})"
    threads = f"bare loop, {num_cores()} threads"
    plain = f"plain forward, batches of {forward.split()[1]}"
    return [
        _figure(one, seconds["round"], "bare loop, 1 thread", seconds["bare"]),
        _figure("evaluation, 1 thread", seconds["evaluation"], plain, seconds[forward]),
        _figure(one, seconds["round"], "arithmetic at matmul's rate", arithmetic),
        _figure(team, seconds["workers"], one, seconds["round"]),
        _figure(team, seconds["workers"], threads, seconds["all threads"]),
    ]


def _figure(what: str, measured: float, floor: str, least: float) -> Figure:
    return Figure(
        what=what, measured_s=measured, floor=floor, floor_s=least, ratio=measured / least
    )


def table(measurement: Measurement) -> Table:
    """The measurement as a table, a row for each figure."""
    m = measurement
    shown = Table(
        title=f"LeNet-5, {m['clients']} clients, {m['steps']} SGD steps, {m['evaluated']:,} images "
        f"evaluated\n{told(m['machine'])}",
        caption=f"medians of {m['repeats']}; {m['gflops']:.1f} GFLOP a round, "
        f"{m['matmul_gflops_per_s']:.0f} GFLOP/s in a matrix product with one thread; "
        f"{m['workers']} workers start in {m['startup_s']:.1f} s",
    )
    for heading in ("", "seconds", "against", "its seconds", "ratio"):
        shown.add_column(heading, justify="right" if heading not in ("", "against") else "left")
    for figure in m["figures"]:
        measured, floor = f"{figure['measured_s']:.3f}", f"{figure['floor_s']:.3f}"
        shown.add_row(figure["what"], measured, figure["floor"], floor, f"{figure['ratio']:.2f}")
    return shown
