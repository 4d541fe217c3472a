"""Short federations on digits with monitors."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fedsim.flower import run_rounds
from fedsim.scenario import load
from fedsim.simulation import prepare
from fedsim.types import DataSource


def flags_of(seed: int, adversary: dict[str, Any] | None) -> dict[str, list[int]]:
    """The rounds in which each monitor raised an alarm; none is missing that raised one."""
    return _flags_of(seed, json.dumps(adversary))


@cache
def _flags_of(seed: int, adversary: str) -> dict[str, list[int]]:
    tree = {
        "name": "watched",
        "seed": seed,
        "rounds": 12,
        "evaluate_every": 100,
        "model": {"name": "mlp", "hidden": [32]},
        "clients": {
            "total": 6,
            "per_round": 6,
            "training": {"epochs": 1, "batch_size": 32, "lr": 0.2, "momentum": 0.9},
        },
        "server": {"root_data": 150},
        "monitors": [{"name": "loss_monitor"}, {"name": "class_audit"}],
        "adversary": json.loads(adversary),
    }
    [cell] = load(tree)
    raised: dict[str, list[int]] = {}

    def on_round(state: Any, record: Any) -> None:
        for name in record.alarms:
            raised.setdefault(name, []).append(state.round)

    run_rounds(prepare(cell.scenario, DataSource(Path("none"))), None, on_round)
    return raised
