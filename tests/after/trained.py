"""Models with a known backdoor and their clean twins, trained on digits once for a test run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fedsim.execution import Settings, folder_of, play, twin_of
from fedsim.progress import Silence
from fedsim.registry import Choice
from fedsim.results import Run
from fedsim.scenario import Cell, load
from fedsim.simulation import prepare_cell
from fedsim.types import DataSource, Split

Tree = dict[str, Any]
TARGET = 2
ROOT = 200

PATCH: Tree = {"name": "backdoor", "target": TARGET, "trigger": {"name": "patch"}}
DBA: Tree = {
    "name": "distributed_backdoor",
    "target": TARGET,
    "per_batch": 16,
    "trigger": {"name": "dba", "size": 2, "gap": 2},
}


TRAINING: Tree = {"epochs": 1, "batch_size": 32, "lr": 0.1, "momentum": 0.9}
CLIENTS: Tree = {"total": 10, "per_round": 10, "training": {**TRAINING, "epochs": 2, "lr": 0.2}}


CNN = f"{Path(__file__).parent / 'tiny_cnn.py'}:tiny_cnn"
MODELS: dict[str, Tree] = {"mlp": {"name": "mlp", "hidden": [64]}, "cnn": {"name": CNN}}

BOOSTED: Tree = {
    "clients": 1,
    "schedule": {"rounds": [10]},
    "poison": {**PATCH, "per_batch": 8},
    "training": {"epochs": 6, "lr": 0.05},
    "attack": {"name": "boost", "factor": "auto"},
}

WORLDS: dict[str, Tree] = {
    "centralized": {
        "rounds": 15,
        "clients": {"total": 1, "per_round": 1, "training": TRAINING},
        "adversary": {"clients": 1, "poison": {**PATCH, "fraction": 0.1}},
    },
    "dba": {
        "rounds": 10,
        "clients": CLIENTS,
        "adversary": {"clients": 4, "poison": DBA, "training": {"epochs": 4}},
    },
    "boosted": {
        "rounds": 10,
        "clients": CLIENTS,
        "adversary": BOOSTED,
    },
}
"""What each kind of backdoored model is: one party's data, four parts of a trigger, one boosted."""


LONGER: dict[str, Tree] = {
    "dba": {"rounds": 20},
    "boosted": {"rounds": 20, "adversary": {**BOOSTED, "schedule": {"rounds": [20]}}},
}
"""What convolutions need more."""


class TrainedPair(NamedTuple):
    """A backdoored model and its clean twin, in evaluation mode, and the data around them.

    `root` are the server's clean images, `test` the test split, both float32 in [0, 1]. `trigger`
    stamps images with the whole trigger, whose success is `target`.
    """

    backdoored: nn.Module
    clean: nn.Module
    root: Split
    test: Split
    trigger: Callable[[Tensor], Tensor]
    target: int
    run: Run
    twin: Run


def cell_of(kind: str, seed: int, model: str = "mlp", **changes: Any) -> Cell:
    """The scenario of one kind of backdoored model; `changes` are its further keys."""
    tree = {
        "name": f"{kind}-{model}",
        "seed": seed,
        "evaluate_every": 100,
        "clean_twin": True,
        "model": MODELS[model],
        "server": {"root_data": ROOT},
        **WORLDS[kind],
        **(LONGER.get(kind, {}) if model == "cnn" else {}),
        **changes,
    }
    [cell] = load(tree)
    return cell


def trained_pair(folder: Path, kind: str, seed: int, model: str = "mlp") -> TrainedPair:
    """The pair, trained in `folder` unless another test or process has done so."""
    cell = cell_of(kind, seed, model)
    settings = Settings(folder, DataSource(Path("none")), resume=True, wait=True)
    run = play(cell, settings, Silence())
    twin = Run(folder_of(twin_of(cell).scenario, folder))
    federation = prepare_cell(cell, settings.source)
    models = []
    for finished in (run, twin):
        module = federation.build_model()
        module.load_state_dict(_tensors(finished))
        models.append(module.requires_grad_(False).eval())
    root, data = federation.root, federation.data.test
    assert root is not None
    test = data.take(torch.arange(len(data)))
    return TrainedPair(*models, root, test, _trigger(cell), TARGET, run, twin)


def _tensors(run: Run) -> dict[str, Tensor]:
    from fedsim.results import read_model

    return read_model(run.path / "model.safetensors")


def _trigger(cell: Cell) -> Callable[[Tensor], Tensor]:
    adversary = cell.scenario.adversary
    poison = adversary and adversary.poison
    assert poison
    trigger = poison.parameters["trigger"]
    assert isinstance(trigger, Choice)
    built: Callable[[Tensor], Tensor] = trigger.build()
    return built
