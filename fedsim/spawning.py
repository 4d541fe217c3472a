"""Processes of our own: deaf to Ctrl-C, silent at their end, and gone when we are."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import Any


def num_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Spawned:
    """A spawned process that runs `work(pipe, *given)`; `pipe` here is the other end.

    It is killed, not asked to stop. With `may_spawn` it may have processes of its own.
    """

    def __init__(self, work: Callable[..., None], *given: Any, may_spawn: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_live, args=(theirs, work, given), daemon=not may_spawn
        )
        with _main_hidden(), _interrupts_ignored():
            self._process.start()
        theirs.close()

    def send(self, thing: Any) -> None:
        """Send it; if the process has died, the end of its pipe will be heard."""
        with suppress(OSError):
            self.pipe.send(thing)

    def hear(self) -> Any:
        """What it sent. Raises EOFError if it has died."""
        try:
            return self.pipe.recv()
        except OSError as error:
            raise EOFError from error

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.join()
        self._process.close()
        self.pipe.close()


def _live(pipe: Connection, work: Callable[..., None], given: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow_parent, daemon=True).start()
    with suppress(EOFError, ConnectionError):  # nobody is there any more
        work(pipe, *given)


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


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Keep processes that are spawned inside the block from running the user's script again.

    What they need is in fedsim; the script that called it may have no `__main__` guard.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
