"""A finished run once more: its federation and its model, and the checks on them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from fedsim.checking import CACHE
from fedsim.datasets import default_source
from fedsim.errors import InputError
from fedsim.execution import data_hashes
from fedsim.flower.client_app import torch_threads
from fedsim.registry import Choice
from fedsim.results import Run, RunFolder, read_model
from fedsim.results.after import LEARNED, read_after
from fedsim.scenario import load
from fedsim.scenario.after import needs_data
from fedsim.scenario.identity import contents
from fedsim.simulation import Federation, prepare_cell
from fedsim.simulation.after import Checked, check
from fedsim.simulation.network import learned_trigger


@dataclass(frozen=True)
class Finished:
    """A finished run with its federation as it was; `pattern` is that of a learned trigger."""

    run: Run
    federation: Federation
    model: nn.Module
    pattern: Tensor | None = None


def open_run(path: Path) -> Finished:
    """The run in the folder `path`, made again from its scenario and its weights.

    Raises: InputError if it has not finished, or if its data or its files have changed.
    """
    folder = RunFolder(path)
    folder.summary()
    [cell] = load(path / "scenario.yaml")
    federation = prepare_cell(cell, default_source())
    made = folder.environment()
    for key, now in (("data", data_hashes(federation)), ("files", contents(cell.scenario))):
        if made.get(key, {}) != now:
            raise InputError(f"{path}: the {key} have changed since the run was made. Run it anew.")
    model = federation.build_model()
    weights = path / "model.safetensors"
    try:
        model.load_state_dict(read_model(weights))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{weights}: does not fit the scenario's network: {reason}") from None
    return Finished(Run(path), federation, model, _pattern(path, federation))


def checked(finished: Finished, choices: Sequence[Choice]) -> Iterator[Checked]:
    """What the checks find in a finished run, which they leave as it is.

    Raises: InputError where a check needs clean data that the run's server has not.
    """
    path, federation = finished.run.path, finished.federation
    for choice in choices:
        if federation.root is None and needs_data(choice):
            way = "Set server.root_data in its scenario and run it anew"
            raise InputError(
                f"{path}: '{choice.name}' needs root data, and the run has none. {way}."
            )
    cache = path.resolve().parent / CACHE
    with torch_threads(federation.scenario.engine.server_threads):
        yield from check(federation, finished.model, choices, pattern=finished.pattern, cache=cache)


def _pattern(path: Path, federation: Federation) -> Tensor | None:
    adversary = federation.scenario.adversary
    if adversary is None or learned_trigger(adversary.poison) is None:
        return None
    learned = read_after(path, LEARNED).get(LEARNED)
    return None if learned is None else learned.to(federation.device)
