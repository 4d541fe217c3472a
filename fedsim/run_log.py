"""What a run logs, in its folder."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger("fedsim")


@contextmanager
def run_log(path: Path, *, anew: bool) -> Iterator[None]:
    """Write what fedsim logs inside the block to `path`, with the time of day."""
    try:
        handler: logging.Handler = _Log(path, mode="w" if anew else "a", encoding="utf-8")
    except OSError:  # what the run itself cannot write is told by the run
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    except BaseException as error:
        log.info("stopped by %s: %s", type(error).__name__, error)
        raise
    finally:
        log.setLevel(level)
        log.removeHandler(handler)
        handler.close()


class _Log(logging.FileHandler):
    """A log that a full disk cuts off, no more."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Leave the line out."""

    def close(self) -> None:
        """Let go of the file."""
        with suppress(OSError):
            super().close()
