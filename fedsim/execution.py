"""One cell of a scenario, from its checked form to a finished run folder."""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fedsim.checking import check_run
from fedsim.errors import InputError, RunError
from fedsim.flower import RunnerOf, run_rounds
from fedsim.flower.client_app import torch_threads
from fedsim.gallery import write_examples
from fedsim.progress import Progress, Silence
from fedsim.results import Run, RunFolder, environment, summarize
from fedsim.run_log import run_log
from fedsim.scenario import Cell, Scenario
from fedsim.scenario.identity import contents
from fedsim.simulation import (
    Federation,
    RoundRecord,
    State,
    last_attack_round,
    prepare_cell,
)
from fedsim.simulation.certification import certified
from fedsim.simulation.evaluation import per_class
from fedsim.tensors import load_buffers, load_params, state_sha256
from fedsim.types import DataSource

log = logging.getLogger("fedsim")

CHECKPOINT_STATE = tuple(one.name for one in fields(State))


@dataclass(frozen=True)
class Settings:
    """How to run, as opposed to what: none of it changes a number."""

    output: Path
    source: DataSource
    resume: bool = False
    force: bool = False
    wait: bool = False
    """Whether to wait for another process that is running the same."""
    runner_of: RunnerOf | None = None
    """Where clients train, if not where the scenario's engine says."""


@dataclass
class _Tally:
    """What a run has gathered beside its state; it goes into the checkpoint with it."""

    seconds: float
    flag_rounds: dict[str, list[int]]
    alarms: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the monitors said first, and the rounds in which they said something."""

    def note(self, round: int, record: RoundRecord) -> None:
        """Keep, and log, what was raised in a round."""
        for flag in record.flags:
            log.warning("round %d: %s", round, flag)
            self.flag_rounds.setdefault(flag, []).append(round)
        for name, text in record.alarms.items():
            log.warning("round %d: %s: %s", round, name, text)
            first = {"text": f"{name}, first in round {round}: {text}", "rounds": []}
            self.alarms.setdefault(name, first)["rounds"].append(round)


def folder_of(scenario: Scenario, output: Path) -> Path:
    """Where the run of `scenario` lives: `<output>/<name>-<hash8>`."""
    return output / f"{scenario.name}-{scenario.hash8}"


def play(cell: Cell, settings: Settings, progress: Progress, index: int = 0, count: int = 1) -> Run:
    """Run `cell`, or what is left of it, or nothing if it is finished; the finished Run.

    Raises: ScenarioError placed in the scenario's file; InputError for an unfinished folder that
    is neither to be resumed nor run anew.
    """
    scenario = cell.scenario
    folder = RunFolder(folder_of(scenario, settings.output))
    if not folder.finished or settings.force:
        refuse_unfinished(folder, settings)
        _refuse_changed(scenario)
        federation = prepare_cell(cell, settings.source)
        twin = None
        if scenario.clean_twin:
            twin = play_twin(cell, federation, settings, progress, index, count)
        with folder.locked(wait=settings.wait):
            if not folder.finished or settings.force:  # nobody has finished it in the meantime
                checkpoint = None if settings.force else folder.load_checkpoint()
                done = checkpoint["round"] if checkpoint else 0
                progress.cell_started(index, count, cell.labels, scenario.rounds, done)
                summary = _finish(
                    federation, folder, checkpoint, twin, progress, settings.runner_of
                )
                progress.cell_finished(index, summary, False)
                return Run(folder.path)
    folder.tidy()
    run = Run(folder.path)
    progress.cell_started(index, count, cell.labels, scenario.rounds, scenario.rounds)
    progress.cell_finished(index, run.summary, True)
    return run


def refuse_unfinished(folder: RunFolder, settings: Settings) -> None:
    """An unfinished run is neither lost nor gone on with unless the user says so."""
    if folder.exists and not folder.finished and not settings.force and not settings.resume:
        raise InputError(
            f"{folder.path}: holds an unfinished run. "
            "Go on with it: --resume. Run it anew: --force."
        )


def _refuse_changed(scenario: Scenario) -> None:
    """What a file of the user holds by now may not run under the hash of what it held."""
    if (file := scenario.changed_file) is not None:
        text = "was changed while the runs that rest on it were being played. Start them again."
        raise RunError(f"{file}: {text}")


def play_twin(
    cell: Cell,
    federation: Federation,
    settings: Settings,
    progress: Progress,
    index: int,
    count: int,
) -> dict[str, Any]:
    """Run the same federation with nobody attacking; its summary.

    One that is there is taken, finished or to be finished, if it was made from the same data.
    """
    twin = twin_of(cell)
    folder = RunFolder(folder_of(twin.scenario, settings.output))
    is_stale = folder.exists and folder.environment().get("data") != data_hashes(federation)
    if folder.finished and not is_stale:
        return folder.summary()
    own = replace(settings, force=is_stale, resume=True, wait=True)
    return play(twin, own, _TwinProgress(progress), index, count).summary


def twin_of(cell: Cell) -> Cell:
    """The cell with nobody attacking."""
    labels = {**cell.labels, "run": "clean twin"}
    return replace(cell, scenario=cell.scenario.twin(), labels=labels)


class _TwinProgress(Silence):
    """Tells of a twin's rounds as part of its cell, which has not ended when the twin has."""

    def __init__(self, progress: Progress) -> None:
        self.cell_started = progress.cell_started  # type: ignore[method-assign]
        self.round_done = progress.round_done  # type: ignore[method-assign]


def _finish(
    federation: Federation,
    folder: RunFolder,
    checkpoint: dict[str, Any] | None,
    twin: Mapping[str, Any] | None,
    progress: Progress,
    runner_of: RunnerOf | None,
) -> dict[str, Any]:
    """Run the rounds that are missing, write them down, and close the folder with a summary."""
    scenario = federation.scenario
    state, tally = _begin(federation, folder, checkpoint)
    started = time.perf_counter() - tally.seconds

    def on_round(state: State, record: RoundRecord) -> None:
        tally.seconds = time.perf_counter() - started
        tally.note(state.round, record)
        if record.picture is not None:
            folder.write_picture(record.picture)
        folder.append(record.round, record.clients)
        folder.save_checkpoint({**vars(state), **asdict(tally)})
        progress.round_done(record.round)

    with run_log(folder.path / "run.log", anew=state is None):
        if state is None:
            write_examples(federation, folder.path)
        log.info("from round %d of %d", state.round if state else 0, scenario.rounds)
        last = run_rounds(federation, state, on_round, runner_of)
        model = final_model(federation, last)
        after, problems = check_run(federation, model, last.pattern, folder.path)
        for name, text in problems.items():
            log.warning("after: %s", text)
            tally.alarms[f"after.{name}"] = {"text": f"After training, {text}.", "rounds": []}
        tally.seconds = time.perf_counter() - started
        log.info("finished after %.1f s", tally.seconds)
        write_examples(federation, folder.path, last)
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    summary = _summary(federation, folder, last, weights, tally, twin, after)
    folder.finish(weights, summary)
    return summary


def _begin(
    federation: Federation, folder: RunFolder, checkpoint: Mapping[str, Any] | None
) -> tuple[State | None, _Tally]:
    """Start a run, or go on with what its checkpoint holds."""
    now = _environment(federation)
    if checkpoint is None:
        folder.start(federation.scenario.resolved(), now)
        return None, _Tally(0.0, {})
    if folder.environment().get("data") != now["data"]:
        text = "the data have changed since the run began. Run it anew: --force."
        raise InputError(f"{folder.path}: {text}")
    state, tally = _restore(checkpoint, federation.device)
    folder.truncate(state.round)
    folder.note_move(state.round, now)
    return state, tally


def _restore(checkpoint: Mapping[str, Any], device: torch.device) -> tuple[State, _Tally]:
    state = {k: _to(checkpoint[k], device) for k in CHECKPOINT_STATE if k in checkpoint}
    tally = {one.name: checkpoint[one.name] for one in fields(_Tally) if one.name in checkpoint}
    return State(**state), _Tally(**tally)


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _to(item, device) for name, item in value.items()}
    return tuple(_to(item, device) for item in value) if isinstance(value, tuple) else value


def final_model(federation: Federation, state: State) -> nn.Module:
    """The global model, buffers included."""
    model = federation.build_model()
    load_params(model, state.params)
    load_buffers(model, state.buffers)
    return model


def _summary(
    federation: Federation,
    folder: RunFolder,
    state: State,
    model: Mapping[str, Tensor],
    tally: _Tally,
    twin: Mapping[str, Any] | None,
    after: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    scenario = federation.scenario
    steps = [*scenario.server.preaggregators, scenario.server.aggregator]
    assumed = [
        step.parameters["num_byzantine"] for step in steps if "num_byzantine" in step.parameters
    ]
    with torch_threads(scenario.engine.server_threads):
        vote = certified(federation, federation.build_model(), state)
    return summarize(
        name=scenario.name,
        hash=scenario.hash8,
        seed=scenario.seed,
        engine=scenario.engine.name,
        device=str(federation.device),
        rounds=folder.rounds(),
        clients=folder.clients(),
        num_rounds=scenario.rounds,
        last_attack_round=last_attack_round(scenario),
        flag_rounds=tally.flag_rounds,
        accuracy_per_class=per_class(
            federation, federation.build_model(), state.params, state.buffers
        ),
        num_classes=federation.data.num_classes,
        assumed=max(assumed, default=None),
        seconds=tally.seconds,
        parameters_sha256=state_sha256(model),
        certified=vote,
        alarms=tally.alarms,
        after=after,
        twin=None if twin is None else dict(twin),
    )


def _environment(federation: Federation) -> dict[str, Any]:
    scenario, device = federation.scenario, str(federation.device)
    engine = scenario.resolved()["engine"]
    return environment(device, engine, data_hashes(federation), contents(scenario))


def data_hashes(federation: Federation) -> dict[str, str]:
    """SHA-256 of the training and the test split."""
    data = federation.data
    return {
        name: state_sha256({"images": split.images, "labels": split.labels})
        for name, split in (("train", data.train), ("test", data.test))
    }
