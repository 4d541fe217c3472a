"""Several cells of a sweep at a time, each in a process of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from fedsim.spawning import Spawned

Task = TypeVar("Task")
Result = TypeVar("Result")

DIED = "the process that ran it died. Go on with: --resume"


@dataclass
class _Worker:
    process: Spawned
    task: int | None = None
    """What it is busy with."""


class Jobs(Generic[Task, Result]):
    """At most `count` processes that call `function`. All of them end with the block, or with us.

    A task whose process dies has no result but DIED; a fresh process takes the next task.
    """

    def __init__(self, count: int, function: Callable[[Task], Result]) -> None:
        self.count, self.function = count, function
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Jobs[Task, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.end()

    def results(
        self, tasks: Sequence[Task], begun: Callable[[int], None]
    ) -> Iterator[tuple[int, Result | str]]:
        """(position of the task, its result or DIED), as they come; `begun` hears what begins."""
        waiting = list(range(len(tasks)))[::-1]
        while waiting or any(worker.task is not None for worker in self._workers):
            while waiting and (worker := self._idle()):
                worker.task = waiting.pop()
                begun(worker.task)
                worker.process.send(tasks[worker.task])
            busy = [worker for worker in self._workers if worker.task is not None]
            heard = wait([worker.process.pipe for worker in busy])
            for worker in busy:
                if worker.process.pipe in heard:
                    done = worker.task or 0
                    yield done, self._heard(worker)

    def _idle(self) -> _Worker | None:
        """A worker without a task, a new one if there may be one more."""
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None and len(self._workers) < self.count:
            idle = _Worker(Spawned(partial(_work, function=self.function), may_spawn=True))
            self._workers.append(idle)
        return idle

    def _heard(self, worker: _Worker) -> Result | str:
        worker.task = None
        try:
            result: Result = worker.process.hear()
        except EOFError:
            self._workers.remove(worker)
            worker.process.end()
            return DIED
        return result


def _work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The life of a worker: it answers until its pipe ends."""
    while True:
        pipe.send(function(pipe.recv()))
