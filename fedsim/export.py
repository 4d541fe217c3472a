"""A run's records for TensorBoard, MLflow or Weights & Biases, written on this machine alone.

A tracker's library is imported where its function is called, and nowhere else in fedsim.
"""

import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fedsim.errors import InputError
from fedsim.results import Run, load
from fedsim.results.files import Record
from fedsim.results.store import to_yaml

SECONDS_BETWEEN_LOOKS = 1.0
"""How often a run that is followed is looked at."""


class Exported(NamedTuple):
    """Where a tracker has put a run, and the command that goes on from there."""

    path: Path
    command: str


@dataclass(frozen=True)
class Told:
    """What trackers are told of the run in `folder`, which need not have finished.

    What is asked for is read then: numbers of the summary come after the last of `rounds`. With
    `follow` these are told as they are written, until the run has finished.
    """

    folder: Path
    scenario: Mapping[str, Any]
    follow: bool = False

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.folder.name

    @property
    def home(self) -> Path:
        """Where the tracker's files go: beside the run."""
        return self.folder.parent

    @property
    def rounds(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Pairs of a round and its numbers."""
        told = -1
        while True:
            is_last = not self.follow or self.summary is not None
            new = [record for record in Run(self.folder).rounds if record["round"] > told]
            for record in new:
                told = record["round"]
                yield told, dict(_numbers({k: v for k, v in record.items() if k != "round"}))
            if is_last:
                return
            time.sleep(SECONDS_BETWEEN_LOOKS)

    @property
    def summary(self) -> Record | None:
        """The run's summary; None before its end."""
        is_finished = os.path.isfile(self.folder / "summary.json")
        return Run(self.folder).summary if is_finished else None

    @property
    def text(self) -> str:
        """The resolved scenario as YAML."""
        return to_yaml(self.scenario)

    @property
    def parameters(self) -> dict[str, Any]:
        """The scenario's plain values by dotted keys; a list is one value, null is left out."""
        return dict(_parameters(self.scenario))

    @property
    def figures(self) -> dict[str, float]:
        """The summary's numbers as `summary/accuracy` and so on; none of an unfinished run."""
        known = {k: v for k, v in (self.summary or {}).items() if k not in {"seed", "flags"}}
        return dict(_numbers(known, "summary/"))

    @property
    def flags(self) -> str:
        """A line for each flag of the summary."""
        raised = (self.summary or {}).get("flags", [])
        return "\n".join(f"{flag['flag']}: {flag['text']}" for flag in raised)

    @property
    def last(self) -> int:
        """The last round there is."""
        return max((record["round"] for record in Run(self.folder).rounds), default=0)


def told(folder: Path, *, follow: bool = False) -> Told:
    """What there is to tell of the run in `folder`; InputError if there is none."""
    is_run = os.path.isfile(folder / "scenario.yaml")
    finished = os.path.isfile(folder / "summary.json")
    run = Run(folder) if is_run and not finished else load(folder)
    if not isinstance(run, Run):
        raise InputError(f"{folder}: is a sweep. Export its runs, the folders beside it.")
    return Told(Path(os.path.abspath(folder)), run.scenario, follow)


def tensorboard(told: Told) -> Exported:
    """Event files in `tensorboard/<run>` beside the run, in place of those of an earlier export."""
    from torch.utils.tensorboard import SummaryWriter

    path = told.home / "tensorboard" / told.name
    for old in path.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(path)) as writer:
        for step, numbers in told.rounds:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)
            writer.flush()
        writer.add_text("scenario", f"```yaml\n{told.text}```")
        if told.flags:
            writer.add_text("flags", told.flags.replace("\n", "\n\n"))
        options = {"run_name": ".", "global_step": told.last}
        writer.add_hparams(told.parameters, told.figures, **options)
    return Exported(path, f"tensorboard --logdir {shlex.quote(str(path.parent))}")


def mlflow(told: Told) -> Exported:
    """One more run in the experiment of the scenario's name, in `mlflow.db` beside the run."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    path = told.home / "mlflow.db"
    address = f"sqlite:///{path}"
    client = MlflowClient(tracking_uri=address)
    experiment = str(told.scenario["name"])
    known = client.get_experiment_by_name(experiment)
    artifacts = (told.home / "mlartifacts").as_uri()
    number = known.experiment_id if known else client.create_experiment(experiment, artifacts)
    run = client.create_run(number, run_name=told.name).info.run_id
    for name, value in told.parameters.items():
        client.log_param(run, name, value)
    now = time.time_ns() // 1_000_000
    for step, numbers in told.rounds:
        client.log_batch(run, [Metric(name, value, now, step) for name, value in numbers.items()])
    figures = [Metric(name, value, now, told.last) for name, value in told.figures.items()]
    client.log_batch(run, figures)
    client.log_text(run, told.text, "scenario.yaml")
    client.set_tag(run, "mlflow.note.content", told.flags)
    if told.summary is not None:
        client.set_terminated(run)
    return Exported(path, f"mlflow ui --backend-store-uri {shlex.quote(address)}")


def wandb(told: Told) -> Exported:
    """An offline run in `wandb` beside the run, which its owner may upload with `wandb sync`."""
    # Neither a report of its errors, nor the commit and the code of this moment, which ran nothing.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("WANDB_DISABLE_GIT", "true")
    os.environ.setdefault("WANDB_DISABLE_CODE", "true")
    os.environ.setdefault("WANDB_SILENT", "true")
    from wandb import init

    run = init(
        project=str(told.scenario["name"]),
        name=told.name,
        notes=told.flags,
        config=dict(told.scenario),
        dir=str(told.home),
        mode="offline",
    )
    for step, numbers in told.rounds:
        run.log(numbers, step=step)
    run.summary.update(told.figures)
    path = Path(run.dir).parent
    run.finish()
    return Exported(path, f"wandb sync {shlex.quote(str(path))}")


TRACKERS: dict[str, Callable[[Told], Exported]] = {
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
}


def _parameters(tree: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _parameters(value, f"{place}{key}.")
        elif isinstance(value, list):
            yield f"{place}{key}", json.dumps(value)
        elif value is not None:
            yield f"{place}{key}", value


def _numbers(tree: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in mappings and lists, by their keys with slashes, by which trackers group."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        name = f"{place}{key}".replace(".", "/")
        if isinstance(value, Mapping | list):
            yield from _numbers(value, f"{name}/")
        elif _is_number(value):
            yield name, value


def _is_number(value: object) -> bool:
    """Whether a tracker can draw it: no truth value, nothing that a float cannot hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
