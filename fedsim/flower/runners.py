"""Where clients are trained: in this process, or in a pool of worker processes."""

import logging
import multiprocessing
import pickle
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Protocol

import torch
from flwr.app import ArrayRecord, Context, Error, Message, RecordDict

from fedsim.errors import RunError
from fedsim.flower._private import RUN_ID, identify_process, set_message_id
from fedsim.flower.client_app import client_app, open_worksite, train_group
from fedsim.flower.messages import FIRST_NODE
from fedsim.simulation import Federation

log = logging.getLogger("fedsim")

RAISED = 2
"""Flower's error code of a client app that raised."""


class Runner(Protocol):
    """Takes the messages of a round to their clients and brings the replies back."""

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """One reply for each message, in any order."""

    def close(self) -> None:
        """Let go of processes and memory."""


class Sequential:
    """Trains one client after the other in this process."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """One reply for each message."""
        open_worksite(self.federation)
        return [call_client(message) for message in messages]

    def close(self) -> None:
        """Nothing to let go of."""


class Together:
    """Trains all clients of a round as one batch in this process."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """One reply for each message; if the batch fails, clients are tried one after the other."""
        open_worksite(self.federation)
        try:
            return train_group(messages)
        except Exception as error:  # one alone may be to blame: each for itself tells which
            text = f"{type(error).__name__}: {error}"
            log.warning("clients are trained one after the other in this round: %s", text)
            return [call_client(message) for message in messages]

    def close(self) -> None:
        """Nothing to let go of."""


class Processes:
    """A pool of worker processes, each with a copy of the federation and one torch thread."""

    def __init__(self, federation: Federation, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            initargs=(ship(federation),),
        )

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """One reply for each message."""
        packed = [pack(chunk) for chunk in chunks(messages, self.workers)]
        with main_hidden():
            jobs = [self._pool.submit(run_chunk, *chunk) for chunk in packed]
        try:
            return [reply for job in jobs for reply in job.result()]
        except BrokenProcessPool as error:
            raise RunError("a worker process died; the run can be resumed") from error

    def close(self) -> None:
        """End the worker processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)


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


def call_client(message: Message) -> Message:
    """The reply of the ClientApp to `message`; an exception becomes Flower's error reply."""
    client = message.metadata.dst_node_id - FIRST_NODE
    context = Context(
        run_id=RUN_ID,
        node_id=message.metadata.dst_node_id,
        node_config={"partition-id": client},
        state=RecordDict(),
        run_config={},
    )
    try:
        return client_app(message, context)
    except Exception as error:  # whatever a client does, the round goes on with the others
        return Message(Error(RAISED, f"{type(error).__name__}: {error}"), reply_to=message)


def ship(federation: Federation) -> bytes:
    """The federation as bytes, its tensors on the CPU; `start_worker` unpacks it."""
    return pickle.dumps((federation.to(torch.device("cpu")), str(federation.device)))


def start_worker(shipped: bytes) -> None:
    """Make this process a worker for the shipped federation, on the device it was shipped for."""
    identify_process()
    federation, device = pickle.loads(shipped)
    open_worksite(federation.to(torch.device(device)))


def chunks(messages: Sequence[Message], workers: int) -> list[Sequence[Message]]:
    """The messages in about four portions per worker, so that slow clients even out."""
    size = max(1, -(-len(messages) // (4 * workers)))
    return [messages[start : start + size] for start in range(0, len(messages), size)]


def pack(chunk: Sequence[Message]) -> tuple[ArrayRecord, list[Message]]:
    """The model once, and the messages without it."""
    model = chunk[0].content.array_records["model"]
    return model, [_light(message) for message in chunk]


def run_chunk(model: ArrayRecord, messages: list[Message]) -> list[Message]:
    """In a worker: put the model back into each message and train its client."""
    for message in messages:
        message.content["model"] = model
    return [call_client(message) for message in messages]


def _light(message: Message) -> Message:
    content = RecordDict({k: v for k, v in message.content.items() if k != "model"})
    metadata = message.metadata
    light = Message(content, dst_node_id=metadata.dst_node_id, message_type=metadata.message_type)
    set_message_id(light, metadata.message_id)
    return light
