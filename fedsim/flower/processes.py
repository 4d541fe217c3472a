"""Workers that are processes of this machine, each with one torch thread and a pipe to us."""

from collections.abc import Sequence
from mmap import mmap
from multiprocessing import connection
from typing import cast

from flwr.app import ArrayRecord, Message

from fedsim.flower.pool import Event, News
from fedsim.flower.runners import call_client, start_worker
from fedsim.flower.shipping import Shipment, unpack
from fedsim.simulation import Federation
from fedsim.spawning import Spawned


class Processes:
    """A crew of worker processes, which share the memory of the federation's tensors."""

    name = "worker processes"

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

    def shortage(self) -> str:
        """Nothing: processes start everywhere."""
        return ""

    def close(self) -> None:
        """Let go of the shared memory."""
        self._shipment.block.close()


class Process:
    """A spawned process; no state lives in it."""

    def __init__(self, shipment: Shipment) -> None:
        # The block arrives as mapped memory.
        self._process = Spawned(_work, shipment.head, shipment.block)
        self.pipe = self._process.pipe

    def learn(self, model: ArrayRecord) -> None:
        """Send the model."""
        self._process.send(model)

    def give(self, message: Message) -> None:
        """Send the message."""
        self._process.send(message)

    def hear(self) -> Event:
        """The next word of the process."""
        try:
            news, reply = self._process.hear()
        except EOFError:
            return Event(self, News.DEAD)
        return Event(self, news, reply)

    def end(self) -> None:
        """Kill the process."""
        self._process.end()


def _work(pipe: connection.Connection, head: bytes, block: mmap) -> None:
    """The life of a worker process: it answers until its pipe ends."""
    start_worker(unpack(head, block))
    pipe.send((News.READY, None))
    model = ArrayRecord()
    while True:
        thing = pipe.recv()
        if isinstance(thing, ArrayRecord):
            model = thing
            continue
        message = cast(Message, thing)
        message.content["model"] = model
        pipe.send((News.DONE, call_client(message)))
