"""Tasks of a running Ray cluster, each in a fresh process of one of its nodes."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

import grpc  # type: ignore[import-untyped]

from fedsim.errors import FedsimError, InputError, RunError
from fedsim.flower.ray_actors import import_ray, own_signals, refuse_deaf

Task = TypeVar("Task")
Result = TypeVar("Result")

PATIENCE = 10.0
"""Seconds in which a cluster answers, if there is one."""


class RayCells(Generic[Task, Result]):
    """The Ray cluster at `address`, whose tasks call `function`; its nodes share our file system.

    Joins it unless this process has joined or started one already, and leaves it with the block.
    A task takes one CPU and `num_gpus`.

    Raises: InputError if nobody answers at `address`, or Ray is not installed.
    """

    def __init__(
        self, address: str, function: Callable[[Task], Result], num_gpus: float = 0.0
    ) -> None:
        self.address, self.num_gpus = address, num_gpus
        self._function = function
        self._pending: dict[Any, int] = {}

    def __enter__(self) -> Self:
        try:
            self._ray = import_ray()
            self._joined = not self._ray.is_initialized()
            if self._joined:
                _join(self._ray, self.address)
            self._refuse_too_few_gpus()
        except FedsimError as error:
            raise InputError(f"--ray {self.address}: {error}") from error
        options = {"num_cpus": 1, "num_gpus": self.num_gpus, "max_retries": 0, "max_calls": 1}
        self._remote = self._ray.remote(**options)(self._function)
        return self

    def __exit__(self, *_: object) -> None:
        for call in self._pending:
            self._ray.cancel(call, force=True)
        if self._joined:
            self._ray.shutdown()

    def results(
        self, tasks: Sequence[Task], begun: Callable[[int], None]
    ) -> Iterator[tuple[int, Result | str]]:
        """(position of the task, its result or why it has none), as they come.

        As many are at work as the cluster has CPUs; `begun` hears the position of each.
        """
        waiting = list(range(len(tasks)))[::-1]
        while waiting or self._pending:
            while waiting and len(self._pending) < self._count():
                begun(waiting[-1])
                position = waiting.pop()
                self._pending[self._remote.remote(tasks[position])] = position
            [call, *_], _ = self._ray.wait(list(self._pending))
            yield self._pending.pop(call), self._heard(call)

    def _count(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)))

    def _refuse_too_few_gpus(self) -> None:
        there = self._ray.cluster_resources().get("GPU", 0)
        if self.num_gpus > there:
            text = f"engine.num_gpus is {self.num_gpus:g}, the GPUs of the cluster are {there:g}."
            raise RunError(text)

    def _heard(self, call: Any) -> Result | str:
        try:
            result: Result = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            last = str(error).strip().splitlines()[-1:]
            reason = f"{type(error).__name__}: {''.join(last)}".rstrip(". ")
            return f"Ray has lost it ({reason}). Go on with: --resume"
        return result


def _join(ray: Any, address: str) -> None:
    """Join the cluster. Raises: RunError if there is none."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    if address == "local":
        raise RunError("names no cluster that is running.")
    _refuse_silent(address.removeprefix("ray://"))
    try:
        with own_signals():
            ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        raise RunError(f"no Ray cluster can be joined ({error})") from error


def _refuse_silent(address: str) -> None:
    """Ray waits for minutes for a cluster that is not there, or that is something else."""
    if not address.rpartition(":")[2].isdigit():
        return
    refuse_deaf(address)
    if os.environ.get("RAY_USE_TLS") == "1":
        return
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE)
        except grpc.FutureTimeoutError:
            raise RunError("who answers there is no Ray cluster.") from None
