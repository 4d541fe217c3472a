"""Tensors that are expensive, in a file that is made anew where it is missing or damaged."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

log = logging.getLogger("fedsim")


def read(path: Path, sizes: Mapping[str, tuple[int, ...] | None]) -> dict[str, Tensor] | None:
    """The tensors at `path`; None unless they have these `sizes` and all are finite."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(path.read_bytes())
        known = {name: tuple(found[name].shape) for name in sizes}
    except (OSError, SafetensorError, KeyError):
        return None
    whole = all(size in (None, known[name]) for name, size in sizes.items())
    return found if whole and all(value.isfinite().all() for value in found.values()) else None


def write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Put `tensors` at `path` at once or not at all; a warning if they cannot be written."""
    from safetensors.torch import save

    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save({name: v.cpu().contiguous() for name, v in tensors.items()}))
        temporary.replace(path)
    except OSError as error:
        log.warning("%s is not kept: %s", path.name, error)
