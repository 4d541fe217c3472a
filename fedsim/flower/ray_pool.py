"""The Ray engine: the same work on a pool of Ray actors, on this machine or on a cluster."""

import math
import socket
from collections.abc import Sequence
from typing import Any

from flwr.app import ArrayRecord, Message

from fedsim.errors import RunError
from fedsim.flower.runners import chunks, pack, run_chunk, ship, start_worker
from fedsim.scenario import Scenario
from fedsim.simulation import Federation


class RayPool:
    """Actors with a CPU and GPU share each; the global model enters the object store once a round.

    Joins the Ray that this process has started already, else the cluster at `engine.address`, else
    starts a private one, which it also stops.
    """

    def __init__(self, federation: Federation, workers: int) -> None:
        self._ray = _import_ray()
        self._owns_ray = _connect(self._ray, federation.scenario, workers)
        engine = federation.scenario.engine
        actor = self._ray.remote(num_cpus=engine.num_cpus, num_gpus=engine.num_gpus)(_Actor)
        shipped = self._ray.put(ship(federation))
        self._actors = [actor.remote(shipped) for _ in range(workers)]

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """One reply for each message; a free actor takes the next portion."""
        model = self._ray.put(messages[0].content.array_records["model"])
        waiting = [pack(chunk)[1] for chunk in reversed(chunks(messages, len(self._actors)))]
        free = list(self._actors)
        replies: list[Message] = []
        busy: dict[Any, Any] = {}
        while waiting or busy:
            while waiting and free:
                actor = free.pop()
                busy[actor.run.remote(model, waiting.pop())] = actor
            done, _ = self._ray.wait(list(busy))
            for job in done:
                replies += self._result(job)
                free.append(busy.pop(job))
        return replies

    def close(self) -> None:
        """End the actors, and Ray itself if this pool started it."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._owns_ray:
            self._ray.shutdown()

    def _result(self, job: Any) -> list[Message]:
        try:
            messages: list[Message] = self._ray.get(job)
        except self._ray.exceptions.RayActorError as error:
            raise RunError("a Ray worker died; the run can be resumed") from error
        return messages


class _Actor:
    def __init__(self, federation: bytes) -> None:
        start_worker(federation)

    def run(self, model: ArrayRecord, messages: list[Message]) -> list[Message]:
        return run_chunk(model, messages)


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        text = "engine ray: the package ray is not installed. Install it, or use --engine inprocess"
        raise RunError(text) from error
    return ray


def _refuse_deaf(address: str) -> None:
    """Ray waits for minutes for a cluster that is not there."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit() and "/" not in host):
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise RunError(f"engine.address: nobody answers at {address} ({error})") from error


def _connect(ray: Any, scenario: Scenario, workers: int) -> bool:
    """Join or start Ray; True if this call started it."""
    if ray.is_initialized():
        return False
    engine = scenario.engine
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    if engine.address is not None:
        _refuse_deaf(engine.address)
        try:
            ray.init(address=engine.address, log_to_driver=False, logging_level="error")
        except ConnectionError as error:
            raise RunError(f"engine.address: no Ray cluster at {engine.address}") from error
    else:
        # "local" keeps Ray from joining whatever cluster the machine last saw.
        cpus = max(1, math.ceil(workers * engine.num_cpus))
        ray.init(address="local", num_cpus=cpus, **quiet)
    return True
