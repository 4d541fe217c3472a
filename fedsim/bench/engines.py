"""How many clients a second each engine trains, and what it adds to each of them."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, NamedTuple, TypedDict, get_args

import psutil  # type: ignore[import-untyped]
from rich.table import Table

from fedsim.bench.machine import Machine, machine, told
from fedsim.bench.memory import Peak
from fedsim.bench.turns import Action, Contestant, Rounds, Timing, measure_in_turn
from fedsim.bench.workload import bare_round, make_federation
from fedsim.flower.client_app import torch_threads
from fedsim.scenario.schema import Engine
from fedsim.simulation import Federation
from fedsim.spawning import num_cores
from fedsim.tensors import flatten_params
from fedsim.types import to_float

CELLS = [("lenet5", 10), ("lenet5", 100), ("resnet18", 10)]
FULL = [("lenet5", 1000), ("resnet18", 100), ("resnet18", 1000)]
"""(model, clients); the second list is measured with `full`."""

BATCHES, BATCH_SIZE = 1, 8
"""What a client trains on: little, so that what an engine adds to it shows."""

STACKS = 3
"""Stacks of all updates that a round holds at the same time: replies, rows, a rule's own."""


class Kind(NamedTuple):
    """An engine: its settings, and what its floor is."""

    engine: dict[str, Any]
    is_team: bool
    floor: str


KINDS = {
    "sequential": Kind({"trainer": "sequential"}, False, "bare loop"),
    "vectorised": Kind({"trainer": "vectorised"}, False, "sequential"),
    "processes": Kind({"trainer": "sequential"}, True, "sequential / workers"),
    "ray": Kind({"name": "ray", "trainer": "sequential"}, True, "processes"),
}


class Row(TypedDict):
    """A round of `clients` by one engine against its floor.

    `overhead_ms` is what it takes longer than its floor, for each client. `startup_s` is what the
    first round takes longer than those after it, `peak_bytes` the most memory of this process and
    all that it started. Where nothing was run, `skipped` says why and the numbers are None.
    """

    engine: str
    model: str
    parameters: int
    clients: int
    workers: int
    clients_per_s: float | None
    round_s: float | None
    floor: str
    floor_s: float | None
    ratio: float | None
    overhead_ms: float | None
    startup_s: float | None
    peak_bytes: int | None
    skipped: str | None


class Measurement(TypedDict):
    """All rows, and the machine that they were measured on."""

    machine: Machine
    rows: list[Row]


def measure(
    *, full: bool = False, cells: list[tuple[str, int]] | None = None, workers: int | None = None
) -> Iterator[Row]:
    """Every engine on every cell (model, clients), the engines of a cell in turn.

    `workers` is how many processes and actors there are; None means one for each core, at least 2.
    """
    team = workers or max(2, num_cores())
    for model, clients in cells or CELLS + (FULL if full else []):
        yield from _measure(model, clients, team)


def _measure(model: str, clients: int, team: int) -> list[Row]:
    federations = {
        name: _federation(model, clients, kind, team)
        for name, kind in KINDS.items()
        if _missing(name) is None
    }
    parameters = len(flatten_params(federations["sequential"].build_model()))
    empty = {name: _row(name, model, parameters, clients, team, _missing(name)) for name in KINDS}
    if 4 * clients * parameters * STACKS > psutil.virtual_memory().available / 2:
        return [{**row, "skipped": row["skipped"] or "memory"} for row in empty.values()]
    peaks = {name: _peak(federation) for name, federation in federations.items()}
    bare = federations["sequential"]
    images = to_float(bare.data.train.images)
    contestants: dict[str, Contestant] = {"bare loop": Action(lambda: bare_round(bare, images))}
    contestants |= {name: Rounds(federation) for name, federation in federations.items()}
    with torch_threads(1):
        times = measure_in_turn(contestants, repeats=max(3, min(15, 300 // clients)))
    times["sequential / workers"] = Timing(times["sequential"].seconds / team, 0.0)
    return [_filled(row, times, peaks) if not row["skipped"] else row for row in empty.values()]


def _federation(model: str, clients: int, kind: Kind, team: int) -> Federation:
    engine = {"workers": min(team, clients) if kind.is_team else 1, **kind.engine}
    return make_federation(clients, BATCHES, BATCH_SIZE, model=model, **engine)


def _missing(name: str) -> str | None:
    """Why the engine `name` cannot be measured here, if it cannot."""
    if name == "ray" and find_spec("ray") is None:
        return "the package ray is not installed"
    trainer = KINDS[name].engine["trainer"]
    if trainer not in get_args(Engine.model_fields["trainer"].annotation):
        return "this version has no such trainer"
    return None


def _peak(federation: Federation) -> int:
    """The most memory while the engine alone plays a round, its start-up included."""
    peak, rounds = Peak(), Rounds(federation)
    try:
        with peak.watching():
            rounds.turn()
    finally:
        rounds.close()
    return peak.bytes


def _row(
    name: str, model: str, parameters: int, clients: int, team: int, skipped: str | None
) -> Row:
    kind = KINDS[name]
    return Row(
        engine=name,
        model=model,
        parameters=parameters,
        clients=clients,
        workers=min(team, clients) if kind.is_team else 1,
        clients_per_s=None,
        round_s=None,
        floor=kind.floor,
        floor_s=None,
        ratio=None,
        overhead_ms=None,
        startup_s=None,
        peak_bytes=None,
        skipped=skipped,
    )


def _filled(row: Row, times: dict[str, Timing], peaks: dict[str, int]) -> Row:
    taken, floor = times[row["engine"]], times[row["floor"]].seconds
    return {
        **row,
        "clients_per_s": row["clients"] / taken.seconds,
        "round_s": taken.seconds,
        "floor_s": floor,
        "ratio": taken.seconds / floor,
        "overhead_ms": 1000 * (taken.seconds - floor) / row["clients"],
        "startup_s": taken.startup,
        "peak_bytes": peaks[row["engine"]],
    }


def measurement(rows: list[Row], facts: Machine | None = None) -> Measurement:
    """The rows with the facts about this machine."""
    return Measurement(machine=facts or machine(), rows=rows)


def table(measured: Measurement) -> Table:
    """The rows as a table."""
    shown = Table(
        title=f"{BATCHES} step of {BATCH_SIZE} images a client\n{told(measured['machine'])}",
        caption="ms: added to each client beyond the floor; start-up is apart; "
        "memory: of all processes together",
    )
    left = {"engine", "model", "floor"}
    for heading in (
        *("engine", "workers", "model", "clients", "clients/s", "seconds", "ratio", "floor"),
        *("ms", "start-up s", "memory MB"),
    ):
        shown.add_column(heading, justify="left" if heading in left else "right")
    for row in measured["rows"]:
        facts = row["engine"], str(row["workers"]), row["model"], f"{row['clients']:,}"
        shown.add_row(*facts, *_numbers(row))
    return shown


def _numbers(row: Row) -> tuple[str, ...]:
    if row["round_s"] is None:
        return "skipped", "", "", row["skipped"] or "", "", "", ""
    return (
        f"{row['clients_per_s']:.1f}",
        f"{row['round_s']:.3f}",
        f"{row['ratio']:.2f}",
        row["floor"],
        f"{row['overhead_ms']:.2f}",
        f"{row['startup_s']:.1f}",
        f"{(row['peak_bytes'] or 0) / 1e6:.0f}",
    )
