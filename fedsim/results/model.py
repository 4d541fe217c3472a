"""The final model as `model.safetensors`, its tensors in the order of the state dict."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedsim import __version__
from fedsim.errors import InputError
from fedsim.results.files import read_bytes, replace_file

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = {
    "f8": "F64",
    "f4": "F32",
    "f2": "F16",
    "i8": "I64",
    "i4": "I32",
    "i2": "I16",
    "i1": "I8",
    "u1": "U8",
    "b1": "BOOL",
}


def write_model(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write `tensors` to `path` in their own order, atomically.

    The writer of the safetensors package sorts by type and name. Here the order stays, so the
    bytes after the header are those that `parameters_sha256` is taken over.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", "fedsim": __version__}}
    body = bytearray()
    for name, tensor in tensors.items():
        array = tensor.detach().cpu().contiguous().numpy()
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        header[name] = {
            "dtype": _DTYPES[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    replace_file(path, len(text).to_bytes(8, "little") + text + body)


def read_model(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a `.safetensors` file in the order of its header; InputError if damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = read_bytes(path)
    try:
        tensors: dict[str, Tensor] = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except (SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: is not a safetensors file ({reason}).") from None
    return {name: tensors[name] for name in header if name != "__metadata__"}
