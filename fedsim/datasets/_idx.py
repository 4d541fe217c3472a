"""The idx files of MNIST and its kin."""

import gzip
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from fedsim.datasets._files import broken, checked, reading, require
from fedsim.types import Split

PARTS = ("images-idx3-ubyte", "labels-idx1-ubyte")
SIDE = 28


def read_pairs(
    name: str, folder: Path, halves: tuple[str, str], fetch: Callable[[], object] | None
) -> tuple[tuple[Path, Tensor, Tensor], ...]:
    """For each of `halves` (file name prefixes): label file, images (N, 1, 28, 28), labels (N,)."""
    files = [_present(folder, f"{half}-{part}") for half in halves for part in PARTS]
    require(name, folder, files, fetch)
    read = []
    for half in halves:
        image_file, label_file = (folder / _present(folder, f"{half}-{part}") for part in PARTS)
        images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
        if images.shape[1:] != (SIDE, SIDE):
            raise broken(image_file, f"holds images of {tuple(images.shape[1:])}, not (28, 28)")
        read.append((label_file, images.unsqueeze(1), labels))
    return tuple(read)


def mnist_like(name: str, folder: Path, fetch: Callable[[], object] | None) -> tuple[Split, Split]:
    """The training and test split of a data set in MNIST's four files."""
    train, test = read_pairs(name, folder, ("train", "t10k"), fetch)
    return checked(*train, num_classes=10), checked(*test, num_classes=10)


def read_idx(path: Path, dimensions: int) -> UInt8[Tensor, "..."]:
    """The unsigned bytes of an idx file (plain or .gz), checked against its header."""
    with reading(path):
        content = path.read_bytes()
        data = bytearray(gzip.decompress(content) if path.suffix == ".gz" else content)
    start = 4 + 4 * dimensions
    if len(data) < start or data[:4] != bytes((0, 0, 8, dimensions)):
        raise broken(path, f"is not an idx file of unsigned bytes in {dimensions} dimensions")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    if len(data) - start != math.prod(shape):
        raise broken(path, f"holds {len(data) - start} bytes where its header says {shape}")
    if 0 in shape:
        raise broken(path, f"is empty: its header says {shape}")
    return torch.frombuffer(data, dtype=torch.uint8, offset=start).view(shape)


def _present(folder: Path, file: str) -> str:
    """`file`, or `file`.gz where only that is there."""
    packed = f"{file}.gz"
    return packed if os.path.exists(folder / packed) and not os.path.exists(folder / file) else file
