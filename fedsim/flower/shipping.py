"""The federation on its way to workers: its tensors in one block of memory that all of them map."""

import io
import mmap
import os
import pickle
import tempfile
import warnings
from multiprocessing.reduction import DupFd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedsim.simulation import Federation

ALIGNMENT = 64


class Shipment:
    """A federation taken apart: `head` is the pickled rest, `block` the tensors' bytes.

    Only fedsim's own processes exchange it; nothing is unpickled that came from outside.
    """

    def __init__(self, federation: Federation) -> None:
        stream = io.BytesIO()
        packer = _Packer(stream)
        packer.dump((federation.to(torch.device("cpu")), str(federation.device)))
        self.head = stream.getvalue()
        self.block = _Block(packer.size)
        for tensor, start in packer.tensors:
            _view(self.block.memory, tensor.dtype, start, tuple(tensor.shape)).copy_(tensor)

    def as_array(self) -> np.ndarray:
        """The block as bytes (size,) for Ray's object store, which maps it into all actors."""
        return np.frombuffer(self.block.memory, np.uint8)


class _Block:
    """Anonymous memory with a file descriptor, gone with its last user."""

    def __init__(self, size: int) -> None:
        if hasattr(os, "memfd_create"):
            self._fd = os.memfd_create("fedsim")
        else:
            with tempfile.TemporaryFile() as file:
                self._fd = os.dup(file.fileno())
        os.ftruncate(self._fd, max(size, 1))
        self.memory = mmap.mmap(self._fd, max(size, 1))

    def __reduce__(self) -> tuple[Any, ...]:
        """On the way to a process that is being spawned, which gets the mapped memory itself."""
        return _mapped, (DupFd(self._fd),)

    def close(self) -> None:
        """Let go of it; whoever has mapped it keeps it."""
        os.close(self._fd)


def _mapped(handle: Any) -> mmap.mmap:
    """In a worker: the memory behind `handle`. What is written into it stays in this process."""
    fd = handle.detach()
    try:
        return mmap.mmap(fd, os.fstat(fd).st_size, access=mmap.ACCESS_COPY)
    finally:
        os.close(fd)


def unpack(head: bytes, block: Any) -> Federation:
    """The shipped federation over the bytes of `block`, on the device it was shipped for."""
    federation: Federation
    federation, device = _Unpacker(io.BytesIO(head), block).load()
    return federation.to(torch.device(device))


class _Packer(pickle.Pickler):
    """Pickles all but tensors, of which it notes where in the block they belong."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.tensors: list[tuple[Tensor, int]] = []
        self.size = 0

    def persistent_id(self, thing: Any) -> Any:
        """The place of a tensor; None leaves anything else to pickle."""
        if type(thing) is not Tensor:
            return None
        start = self.size
        self.tensors.append((thing, start))
        length = thing.numel() * thing.element_size()
        self.size = start + -(-length // ALIGNMENT) * ALIGNMENT
        return str(thing.dtype).removeprefix("torch."), start, tuple(thing.shape)


class _Unpacker(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, block: Any) -> None:
        super().__init__(stream)
        self._block = block

    def persistent_load(self, place: Any) -> Tensor:
        dtype, start, shape = place
        return _view(self._block, getattr(torch, dtype), start, shape)


def _view(block: Any, dtype: torch.dtype, start: int, shape: tuple[int, ...]) -> Tensor:
    count = int(np.prod(shape, dtype=np.int64))
    if count == 0:
        return torch.empty(shape, dtype=dtype)
    with warnings.catch_warnings():
        # Ray's memory is read-only; clients are given copies of rows, never the block itself.
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        return torch.frombuffer(block, dtype=dtype, count=count, offset=start).view(shape)
