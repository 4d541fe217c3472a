"""How much memory a process and all that it started hold at most."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil  # type: ignore[import-untyped]

PAUSE = 0.1
"""Seconds between two looks: a look at a large process takes milliseconds."""


class Peak:
    """The most bytes seen so far."""

    def __init__(self) -> None:
        self.bytes = 0

    def look(self) -> None:
        """Look once."""
        self.bytes = max(self.bytes, tree_bytes())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look again and again inside the block, at its beginning and at its end."""
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(stop,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _watch(self, stop: threading.Event) -> None:
        self.look()
        while not stop.wait(PAUSE):
            self.look()
        self.look()


def tree_bytes() -> int:
    """Bytes that this process and its descendants hold now; what several share counts once."""
    me = psutil.Process()
    return sum(_bytes(process) for process in [me, *me.children(recursive=True)])


def _bytes(process: psutil.Process) -> int:
    """Its own share of memory where the system tells (Linux), else all that is resident."""
    with suppress(psutil.Error):
        try:
            return int(process.memory_full_info().pss)
        except (AttributeError, psutil.AccessDenied):
            return int(process.memory_info().rss)
    return 0
