"""A checkpoint as bytes: tensors and plain values, and nothing that could run when it is read."""

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from fedsim.errors import RunError

DIGEST = 32
"""Bytes of the SHA-256 at the end: torch itself reads changed numbers without a word."""


def pack(checkpoint: Mapping[str, Any]) -> bytes:
    """The bytes of `checkpoint`; RunError if a value could not be loaded again."""
    import torch

    buffer = io.BytesIO()
    torch.save(_storable(dict(checkpoint), "checkpoint"), buffer)
    return sealed(buffer.getvalue())


def sealed(data: bytes) -> bytes:
    """`data` with their SHA-256 behind them."""
    return data + hashlib.sha256(data).digest()


def unpack(data: bytes) -> dict[str, Any] | None:
    """The checkpoint in `data`, its tensors on the CPU; None if they are cut off or changed."""
    import torch

    if sealed(data[:-DIGEST]) != data:
        return None
    data = data[:-DIGEST]
    try:
        checkpoint = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception:  # torch raises half a dozen types for damaged bytes
        return None
    return checkpoint if isinstance(checkpoint, dict) else None


def _storable(value: object, where: str) -> object:
    """`value`, refused if it could not be loaded again; views without the rest of their storage."""
    from torch import Tensor

    if isinstance(value, Tensor):
        used = value.numel() * value.element_size()
        return value.detach().clone() if value.untyped_storage().nbytes() > used else value
    if isinstance(value, dict) and type(value) in (dict, OrderedDict):
        return {key: _storable(item, f"{where}.{key}") for key, item in value.items()}
    if type(value) is list:
        return [_storable(item, where) for item in value]
    if type(value) is tuple:
        return tuple(_storable(item, where) for item in value)
    if value is None or type(value) in (bool, int, float, str, bytes):
        return value
    held = "a checkpoint holds tensors and plain values in dicts, lists and tuples"
    raise RunError(f"{where}: {held}; got {type(value).__name__}.")
