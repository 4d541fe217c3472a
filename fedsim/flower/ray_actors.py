"""Workers that are Ray actors, on this machine or on a cluster."""

import logging
import math
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message

from fedsim.errors import RunError
from fedsim.flower.pool import Event, News
from fedsim.flower.runners import call_client, start_worker
from fedsim.flower.shipping import Shipment, unpack
from fedsim.scenario import Scenario
from fedsim.simulation import Federation

log = logging.getLogger("fedsim.start")

INLINE = 4 * 2**20
"""Bytes up to which a reply comes with its call. Ray's own 100 kB send the update of any real model
through the object store, whose daemon then takes more time than the rest of the way."""


class RayActors:
    """A crew of actors with a CPU and GPU share each.

    The federation enters the object store once, the global model once a round. Joins the Ray that
    this process has started already, else the cluster at `engine.address`, else starts a private
    one, which it also stops.
    """

    name = "Ray workers"

    def __init__(self, federation: Federation, workers: int) -> None:
        self._ray = import_ray()
        self._owns_ray = _connect(self._ray, federation.scenario, workers)
        engine = federation.scenario.engine
        options = {"num_cpus": engine.num_cpus, "num_gpus": engine.num_gpus, "max_restarts": 0}
        self._actor = self._ray.remote(**options)(_Actor)
        shipment = Shipment(federation)
        self._head, self._block = shipment.head, self._ray.put(shipment.as_array())
        shipment.block.close()

    def share(self, model: ArrayRecord) -> Any:
        """The reference of the model in the object store."""
        return self._ray.put(model)

    def hire(self) -> "RayWorker":
        """Start an actor."""
        return RayWorker(self._ray, self._actor.remote(self._head, self._block))

    def wait(self, workers: "Sequence[RayWorker]", seconds: float | None) -> list[Event]:
        """Hear of the actors whose call has returned."""
        calls = [worker.call for worker in workers if worker.call is not None]
        self._ray.wait(calls, timeout=seconds)
        done, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        return [worker.hear() for worker in workers if worker.call in done]

    def shortage(self) -> str:
        """The CPUs and GPUs that nobody has taken, as ` (free: …)`."""
        free = self._ray.available_resources()
        counts = ", ".join(f"{free.get(kind, 0.0):g} {kind}" for kind in ("CPU", "GPU"))
        return f" (free in the cluster: {counts})"

    def close(self) -> None:
        """Stop Ray if it was started here."""
        self._block = None
        if self._owns_ray:
            self._ray.shutdown()


class RayWorker:
    """An actor and its call in progress."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        self._news = News.READY
        self.call = actor.ready.remote()

    def learn(self, model: Any) -> None:
        """Point the actor to the model."""
        self._actor.learn.remote(model)

    def give(self, message: Message) -> None:
        """Call the actor."""
        self._news, self.call = News.DONE, self._actor.train.remote(message)

    def hear(self) -> Event:
        """What the returned call brought."""
        call, self.call = self.call, None
        try:
            return Event(self, self._news, self._ray.get(call))
        except self._ray.exceptions.RayError:
            return Event(self, News.DEAD)

    def end(self) -> None:
        """Kill the actor."""
        self._ray.kill(self._actor)


class _Actor:
    def __init__(self, head: bytes, block: np.ndarray) -> None:
        start_worker(unpack(head, block))
        self._model = ArrayRecord()

    def ready(self) -> None:
        """Answer once the actor is there."""

    def learn(self, model: ArrayRecord) -> None:
        self._model = model

    def train(self, message: Message) -> Message | None:
        message.content["model"] = self._model
        return call_client(message)


def import_ray() -> Any:
    """The package ray. Raises: RunError if it is not installed."""
    try:
        import ray
    except ImportError as error:
        text = "engine ray: the package ray is not installed. Install it, or use --engine inprocess"
        raise RunError(text) from error
    return ray


def refuse_deaf(address: str) -> None:
    """Ray waits for minutes for a cluster that is not there. Raises: RunError."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and "/" not in host):
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise RunError(f"nobody answers at {address} ({error})") from error


def _connect(ray: Any, scenario: Scenario, workers: int) -> bool:
    """Join or start Ray; True if this call started it."""
    if ray.is_initialized():
        return False
    with own_signals():
        _init(ray, scenario, workers)
    return True


def _init(ray: Any, scenario: Scenario, workers: int) -> None:
    engine = scenario.engine
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    if engine.address is not None:
        log.info("joining Ray at %s", engine.address)
        try:
            refuse_deaf(engine.address)
            ray.init(address=engine.address, log_to_driver=False, logging_level="error")
        except RunError as error:
            raise RunError(f"engine.address: {error}") from error
        except ConnectionError as error:
            raise RunError(f"engine.address: no Ray cluster at {engine.address}") from error
    else:
        log.info("starting Ray")
        # "local" keeps Ray from joining whatever cluster the machine last saw.
        cpus = max(1, math.ceil(workers * engine.num_cpus))
        ours = {"max_direct_call_object_size": INLINE}
        ray.init(address="local", num_cpus=cpus, _system_config=ours, **quiet)


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep our own answer to SIGTERM: Ray puts one of its own in its place, which aborts."""
    ours = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if current_thread() is main_thread():
            signal.signal(signal.SIGTERM, ours)
