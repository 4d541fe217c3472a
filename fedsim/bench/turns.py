"""Several contestants measured in turn, so that whatever else the machine does strikes them all."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from statistics import median
from typing import NamedTuple, Protocol

from fedsim.errors import RunError
from fedsim.flower import run_rounds
from fedsim.simulation import Federation, RoundRecord, State
from fedsim.simulation.rounds import initial_state


class Contestant(Protocol):
    """Something that can be done again and again."""

    def turn(self) -> float:
        """Do it once; the seconds that it took."""

    def close(self) -> None:
        """It will not be done again."""


class Timing(NamedTuple):
    """The median seconds of a turn, and by how much the first one took longer."""

    seconds: float
    startup: float


def measure_in_turn(contestants: Mapping[str, Contestant], repeats: int) -> dict[str, Timing]:
    """Time each over `repeats` turns, after a first one that counts as start-up alone."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    with ExitStack() as stack:
        for contestant in contestants.values():
            stack.callback(contestant.close)
        for _ in range(1 + repeats):
            for name, contestant in contestants.items():
                seconds[name].append(contestant.turn())
    return {name: _timing(taken) for name, taken in seconds.items()}


def _timing(taken: list[float]) -> Timing:
    first, *others = taken
    return Timing(median(others), max(0.0, first - median(others)))


class Action:
    """A function of nothing."""

    def __init__(self, action: Callable[[], object]) -> None:
        self._action = action

    def turn(self) -> float:
        """Call it."""
        started = time.perf_counter()
        self._action()
        return time.perf_counter() - started

    def close(self) -> None:
        """Nothing is left of it."""


class Rounds:
    """A run of fedsim that stands still between its rounds, its workers waiting.

    A turn is a round; the first one also starts the workers. A run goes on in a thread of its own,
    of which one at a time does anything. The initial model is not evaluated.
    """

    def __init__(self, federation: Federation) -> None:
        self.last: tuple[State, RoundRecord] | None = None
        self._federation = federation
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def turn(self) -> float:
        """Play the next round."""
        started = time.perf_counter()
        self._go.release()
        self._done.acquire()
        if self._error is not None:
            raise self._error
        return time.perf_counter() - started

    def close(self) -> None:
        """Stop before the next round, and let go of the workers."""
        self._stopped = True
        self._go.release()
        self._thread.join()

    def _play(self) -> None:
        self._go.acquire()
        if self._stopped:
            return
        try:
            state = initial_state(self._federation.build_model())
            run_rounds(self._federation, state, self._after_round)
        except _StoppedError:
            return
        except BaseException as error:  # told by the thread that waits for the turn
            self._error = error
        self._done.release()

    def _after_round(self, state: State, record: RoundRecord) -> None:
        if record.round["num_failed"]:
            raise RunError(f"{record.round['num_failed']} client(s) of the benchmark failed")
        self.last = state, record
        self._done.release()
        self._go.acquire()
        if self._stopped:
            raise _StoppedError


class _StoppedError(Exception):
    """Nobody wants more rounds."""
