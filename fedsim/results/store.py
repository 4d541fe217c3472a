"""The folder of one run: append-only records, a checkpoint while it lasts, a summary at the end."""

import math
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fedsim import __version__
from fedsim.errors import InputError
from fedsim.results import shapes
from fedsim.results.after import clear_after
from fedsim.results.checkpoint import pack, unpack
from fedsim.results.files import (
    Record,
    json_line,
    parsed_lines,
    read_bytes,
    read_json,
    read_lines,
    replace_file,
    write_json,
    writing,
)
from fedsim.results.model import read_model, write_model

if TYPE_CHECKING:
    from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

SYNC_EVERY = 1.0
"""Seconds between two checkpoints that are forced to the disk."""

_RESULTS = (
    "summary.json",
    "model.safetensors",
    "report.html",
    "examples.safetensors",
    "updates.json",
    "checkpoint.pt",
)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run at `path`. Whether it may be written is for the caller to decide.

    NaN and infinity never reach a JSON file: a diverged loss or an unbounded norm is null there.
    """

    path: Path
    _synced: float = field(default=-math.inf, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def exists(self) -> bool:
        """Whether a run was started here, finished or not."""
        return (self.path / "scenario.yaml").is_file()

    @property
    def finished(self) -> bool:
        """Whether a run was started here and came to its end."""
        return self.exists and (self.path / "summary.json").is_file()

    def start(self, scenario: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Make the folder with `scenario` and `environment`; results of an earlier run go."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for name in _RESULTS:
                (self.path / name).unlink(missing_ok=True)
            clear_after(self.path)
            for name in ("rounds.jsonl", "clients.jsonl"):
                (self.path / name).write_bytes(b"")
            write_json(self.path / "environment.json", {"fedsim": __version__, **environment})
            replace_file(self.path / "scenario.yaml", to_yaml(scenario).encode())
        except OSError as error:
            raise unwritable(self.path, error) from None

    def append(self, round: Mapping[str, Any], clients: Iterable[Mapping[str, Any]]) -> None:
        """Add a round. Its clients go first, so a round that is there has all of them."""
        rows = b"".join(json_line(client) for client in clients)
        with self._writing("clients.jsonl") as path:
            _append(path, rows)
        with self._writing("rounds.jsonl") as path:
            _append(path, json_line(round))

    def write_picture(self, picture: Mapping[str, Any]) -> None:
        """Write where the updates of one round stood, as updates.json."""
        with self._writing("updates.json") as path:
            replace_file(path, json_line(picture))

    def truncate(self, last_round: int) -> None:
        """Keep the records up to `last_round`; drop later ones and what a kill cut off.

        Kept lines keep their bytes. InputError if the records end before `last_round`.
        """
        for name in ("clients.jsonl", "rounds.jsonl"):
            path = self.path / name
            lines = parsed_lines(path, whole=False)
            kept = [line + b"\n" for record, line in lines if record["round"] <= last_round]
            with self._writing(name):
                replace_file(path, b"".join(kept))
        last = max((record["round"] for record in self.rounds()), default=-1)
        if last != last_round >= 0:
            end = f"the records end at round {last}, the checkpoint is of round {last_round}"
            raise InputError(f"{self.path / 'rounds.jsonl'}: {end}. Use --force to run it anew.")

    def note_move(self, last_round: int, environment: Mapping[str, Any]) -> None:
        """Add to environment.json in what `environment` differs, if the rounds to come do so."""
        known = self.environment()
        moves = known.pop("moved", [])
        last = {key: value for at in [known, *moves] for key, value in at.items()}
        changed = {key: value for key, value in environment.items() if last.get(key) != value}
        if changed:
            moves = [*moves, {"after_round": last_round, **changed}]
            with self._writing("environment.json") as path:
                write_json(path, {**known, "moved": moves})

    def save_checkpoint(self, checkpoint: Mapping[str, Any]) -> None:
        """Store `checkpoint`, nested dicts and lists of tensors and plain values, atomically.

        At most once in SYNC_EVERY seconds it is forced to the disk, the records before it: then a
        loss of power, too, leaves no checkpoint that is ahead of them. RunError if a value could
        not be loaded again.
        """
        data = pack(checkpoint)
        durable = time.monotonic() - self._synced >= SYNC_EVERY
        for name in ("clients.jsonl", "rounds.jsonl") if durable else ():
            with self._writing(name) as path, path.open("ab") as file:
                os.fsync(file.fileno())
        with self._writing("checkpoint.pt") as path:
            replace_file(path, data, durable=durable)
        if durable:
            object.__setattr__(self, "_synced", time.monotonic())

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, its tensors on the CPU, or None; it can hold no code."""
        path = self.path / "checkpoint.pt"
        if not path.is_file():
            return None
        checkpoint = unpack(read_bytes(path))
        if checkpoint is None:
            raise InputError(f"{path}: is not a checkpoint of fedsim. Use --force to run anew.")
        return checkpoint

    def finish(self, model: Mapping[str, "Tensor"], summary: Mapping[str, Any]) -> None:
        """Write the model, then the summary, which ends the run, and drop the checkpoint.

        Until the summary is there the checkpoint is kept: a kill in between costs nothing.
        """
        with self._writing("model.safetensors") as path:
            write_model(path, model)
        with self._writing("summary.json") as path:
            write_json(path, summary)
        self.tidy()

    def tidy(self) -> None:
        """Drop the checkpoint of a finished run, which a kill may have left."""
        if self.finished:
            for name in ("checkpoint.pt", "checkpoint.pt.tmp"):
                with suppress(OSError):  # a finished run may lie where nothing can be written
                    (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def _writing(self, name: str) -> Iterator[Path]:
        """The path of the file `name`; RunError if it cannot be written in the block."""
        path = self.path / name
        with writing(path, f"Go on with: fedsim resume {shlex.quote(str(self.path))}"):
            yield path

    @contextmanager
    def locked(self, *, wait: bool = False) -> Iterator[None]:
        """Keep other processes from writing this run inside the block.

        InputError if one is writing it now, unless `wait` says to wait for it. Where the system
        has no file locks (Windows), nothing is kept.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = (self.path / ".lock").open("w")
        except OSError as error:
            raise unwritable(self.path, error) from None
        with file:
            if fcntl is not None:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                except OSError:
                    text = "another process is running this. Wait for it, or choose another output."
                    raise InputError(f"{self.path}: {text}") from None
            yield

    def rounds(self) -> list[Record]:
        """The lines of rounds.jsonl, round 0 first; InputError where one is not as it should be."""
        return self._lines("rounds.jsonl", shapes.Round)

    def clients(self) -> list[Record]:
        """The lines of clients.jsonl."""
        return self._lines("clients.jsonl", shapes.ClientRow)

    def _lines(self, name: str, shape: type[shapes.Round] | type[shapes.ClientRow]) -> list[Record]:
        lines = read_lines(self.path / name, whole=self.finished)
        shapes.check_lines(shape, lines, self.path / name)
        return lines

    def summary(self) -> Record:
        """The summary of a finished run; InputError, with what to do, if it has not finished."""
        if not self.exists:
            raise InputError(f"{self.path}: is not the folder of a run: it has no scenario.yaml.")
        path = self.path / "summary.json"
        if not path.is_file():
            ways = f"Continue it with: fedsim resume {self.path}, or run it anew with --force"
            raise InputError(f"{self.path}: the run has not finished. {ways}.")
        summary = read_json(path)
        shapes.check(shapes.Summary, summary, path)
        return summary

    def scenario(self) -> dict[str, Any]:
        """The resolved scenario as plain values."""
        from fedsim.scenario import document

        path = self.path / "scenario.yaml"
        tree = document(path).tree
        shapes.check(shapes.Scenario, tree, path)
        return tree

    def environment(self) -> Record:
        """Where and with what the run was made."""
        path = self.path / "environment.json"
        environment = read_json(path)
        shapes.check(shapes.Environment, environment, path)
        return environment

    def model(self) -> dict[str, "Tensor"]:
        """The final model's tensors in the order of its state dict."""
        return read_model(self.path / "model.safetensors")


def unwritable(path: Path, error: OSError) -> InputError:
    """What to say before a run has begun where nothing can be written."""
    return InputError(f"{path}: cannot be written: {error.strerror}. Choose another output folder.")


class _Dumper(yaml.SafeDumper):
    """Safe YAML without anchors, which also quotes text that YAML 1.2 reads as a number."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write shared values out in full."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "'" if _is_number(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """`tree` as YAML in the order of its keys; reads the same under YAML 1.1 and 1.2."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100}
    text: str = yaml.dump(dict(tree), Dumper=_Dumper, default_flow_style=None, **options)
    return text


def _is_number(text: str) -> bool:
    for convert in (float, lambda digits: int(digits, 0)):
        try:
            convert(text)
        except ValueError:
            continue
        return True
    return False


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
