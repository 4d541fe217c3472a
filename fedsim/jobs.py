"""Several cells of a sweep at a time, each in a process of its own."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Thread, current_thread, main_thread
from typing import Any, Generic, TypeVar

from fedsim.flower.processes import main_hidden

Task = TypeVar("Task")
Result = TypeVar("Result")

DIED = "the process that ran it died"


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    task: int | None = None
    """What it is busy with."""


class Jobs(Generic[Task, Result]):
    """At most `count` processes that call `function`. All of them end with the block, or with us.

    A task whose process dies has no result; a fresh process takes the next task.
    """

    def __init__(self, count: int, function: Callable[[Task], Result]) -> None:
        self.count, self.function = count, function
        self._workers: list[_Worker] = []

    def __enter__(self) -> "Jobs[Task, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            _end(worker)

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Result | None]]:
        """(position of the task, its result), as they come; None where its process has died."""
        waiting = list(range(len(tasks)))[::-1]
        while waiting or any(worker.task is not None for worker in self._workers):
            while waiting and (worker := self._idle()):
                worker.task = waiting.pop()
                with suppress(OSError):  # it has died: the end of its pipe will be read
                    worker.pipe.send(tasks[worker.task])
            busy = {w.pipe: w for w in self._workers if w.task is not None}
            for pipe in wait(list(busy)):
                worker = busy[pipe]  # type: ignore[index]
                done = worker.task or 0
                yield done, self._heard(worker)

    def _idle(self) -> _Worker | None:
        """A worker without a task, a new one if there may be one more."""
        idle = next((worker for worker in self._workers if worker.task is None), None)
        if idle is None and len(self._workers) < self.count:
            idle = _start(self.function)
            self._workers.append(idle)
        return idle

    def _heard(self, worker: _Worker) -> Result | None:
        worker.task = None
        try:
            result: Result = worker.pipe.recv()
        except (EOFError, OSError):
            self._workers.remove(worker)
            _end(worker)
            return None
        return result


def _start(function: Callable[[Any], Any]) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function))
    with main_hidden(), _interrupts_ignored():
        process.start()
    theirs.close()
    return _Worker(process, ours)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.pipe.close()


def _work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The life of a worker: it answers until its pipe ends, and dies with who started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow_parent, daemon=True).start()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(function(task))


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Make processes that are started inside the block deaf to Ctrl-C from their first moment.

    A terminal sends it to all of them; who started them ends them.
    """
    hears = current_thread() is main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if hears else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
