"""Workers that are processes of this machine, each with one torch thread and a pipe to us."""

import multiprocessing
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from mmap import mmap
from multiprocessing import connection
from types import ModuleType
from typing import cast

from flwr.app import ArrayRecord, Message

from fedsim.flower.pool import Event, News
from fedsim.flower.runners import call_client, start_worker
from fedsim.flower.shipping import Shipment, unpack
from fedsim.simulation import Federation


class Processes:
    """A crew of worker processes, which share the memory of the federation's tensors."""

    def __init__(self, federation: Federation) -> None:
        self._shipment = Shipment(federation)

    def share(self, model: ArrayRecord) -> ArrayRecord:
        """The model as it is: each pipe carries it once a round."""
        return model

    def hire(self) -> "Process":
        """Start a process."""
        return Process(self._shipment)

    def wait(self, workers: "Sequence[Process]", seconds: float | None) -> list[Event]:
        """Read every pipe that has something, or waits at its end."""
        heard = connection.wait([worker.pipe for worker in workers], seconds)
        return [worker.hear() for worker in workers if worker.pipe in heard]

    def close(self) -> None:
        """Let go of the shared memory."""
        self._shipment.block.close()


class Process:
    """A spawned process. It is killed, not asked to stop: no state lives in it."""

    def __init__(self, shipment: Shipment) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        given = (theirs, shipment.head, shipment.block)  # the block arrives as mapped memory
        self._process = context.Process(target=_work, args=given, daemon=True)
        with main_hidden():
            self._process.start()
        theirs.close()

    def learn(self, model: ArrayRecord) -> None:
        """Send the model."""
        self._send(model)

    def give(self, message: Message) -> None:
        """Send the message."""
        self._send(message)

    def hear(self) -> Event:
        """The next word of the process."""
        try:
            news, reply = self.pipe.recv()
        except (EOFError, OSError):
            return Event(self, News.DEAD)
        return Event(self, news, reply)

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()

    def _send(self, thing: ArrayRecord | Message) -> None:
        with suppress(OSError):  # it died: the end of its pipe will be read
            self.pipe.send(thing)


def _work(pipe: connection.Connection, head: bytes, block: mmap) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; who started us ends us
    start_worker(unpack(head, block))
    pipe.send((News.READY, None))
    model = ArrayRecord()
    while True:
        try:
            thing = pipe.recv()
        except EOFError:
            return
        if isinstance(thing, ArrayRecord):
            model = thing
            continue
        message = cast(Message, thing)
        message.content["model"] = model
        pipe.send((News.DONE, call_client(message)))


@contextmanager
def main_hidden() -> Iterator[None]:
    """Keep processes that are spawned inside the block from running the user's script again.

    What they need is in fedsim; the script that called it may have no `__main__` guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
