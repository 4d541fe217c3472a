"""What checks on a finished model leave in its run's folder: repaired models, recovered triggers.

They lie in `after/` as `<position>-<name>.safetensors`, and a recovered trigger, its `mask` and
`pattern`, as `<position>-<name>-trigger.safetensors`.
"""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim.results.files import writing
from fedsim.results.model import read_model, write_model

if TYPE_CHECKING:
    from torch import Tensor

LEARNED = "pattern"
"""The file of the pattern that the adversary's trigger learned last."""


def after_path(run: Path, name: str) -> Path:
    """Where a file of that name lies in the folder `run`."""
    return run / "after" / f"{name}.safetensors"


def write_after(run: Path, name: str, tensors: Mapping[str, "Tensor"]) -> None:
    """Write the file of that name; RunError if it cannot be written."""
    path = after_path(run, name)
    with writing(path, f"Go on with: fedsim resume {shlex.quote(str(run))}"):
        path.parent.mkdir(exist_ok=True)
        write_model(path, tensors)


def read_after(run: Path, name: str) -> dict[str, "Tensor"]:
    """The tensors of the file of that name; empty where there is none, InputError if damaged."""
    path = after_path(run, name)
    return read_model(path) if path.is_file() else {}


def clear_after(run: Path) -> None:
    """Remove what checks have left in `run`."""
    for path in (run / "after").glob("*.safetensors"):
        path.unlink()
