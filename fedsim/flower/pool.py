"""A round's clients shared out among workers that may be slow, or die."""

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from flwr.app import ArrayRecord, Message, RecordDict

from fedsim.errors import RunError
from fedsim.flower._private import set_message_id
from fedsim.flower.messages import LOST, TOO_LATE
from fedsim.flower.runners import error_reply

log = logging.getLogger("fedsim.start")

GRACE = 0.5
"""Seconds beyond its time after which a client's worker is ended: the client's own clock is the
judge, and this one also counts the way to the client and back."""

MAX_TRIES = 2
"""How many workers a client may take with it."""

MAX_STILLBORN = 3
"""How many workers may die in a row before they are ready."""


SLOW_START = 10.0
"""Seconds after which it is told that workers are missing; then twice, four times as many …"""


class News(Enum):
    """What can be heard of a worker."""

    READY = "it can be given work"
    DONE = "its client's reply, or that there is none"
    DEAD = "it will never say anything again"


class Event(NamedTuple):
    """News of a worker; `reply` only where a client is done that gave one."""

    worker: "Worker"
    news: News
    reply: Message | None = None


class Worker(Protocol):
    """A process somewhere that trains one client at a time."""

    def learn(self, model: ArrayRecord) -> None:
        """Take the global model of the round."""

    def give(self, message: Message) -> None:
        """Begin to train the client of `message`, which comes without the model."""

    def end(self) -> None:
        """Die now."""


W = TypeVar("W", bound=Worker)


class Crew(Protocol[W]):
    """A kind of workers."""

    name: str
    """What they are called, in the plural."""

    def shortage(self) -> str:
        """What there may be too little of for all workers to start, or nothing."""

    def share(self, model: ArrayRecord) -> Any:
        """The global model of a round as `Worker.learn` takes it, put where all find it."""

    def hire(self) -> W:
        """Start a worker; it says when it is ready."""

    def wait(self, workers: Sequence[W], seconds: float | None) -> list[Event]:
        """What there is to hear of `workers`, at the latest after `seconds` (None: no limit)."""

    def close(self) -> None:
        """Let go of what the workers shared."""


@dataclass
class Job:
    """A client to train."""

    message: Message
    tries: int = 0


@dataclass
class Post(Generic[W]):
    """A place for a worker: who holds it, and what it is busy with."""

    worker: W
    ready: bool = False
    job: Job | None = None
    since: float = 0.0


class Pool(Generic[W]):
    """A runner over `size` workers of a crew.

    A client whose worker dies is tried once more on a fresh one, then `lost`. A client that takes
    longer than `limit` seconds is `timeout`, and its worker replaced.
    """

    by_reference = False

    def __init__(self, crew: Crew[W], size: int, limit: float | None) -> None:
        self._crew, self._limit = crew, limit
        self._model: Any = None
        self._stillborn = 0
        self._posts: list[Post[W]] = []
        self._short_since, self._tell_after = time.monotonic(), SLOW_START
        self._is_starting = True
        log.info("starting %d %s", size, crew.name)
        try:
            self._posts += [Post(crew.hire()) for _ in range(size)]
        except BaseException:
            self.close()
            raise

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """The replies, in the order in which they came."""
        if not messages:
            return []
        self._model = self._crew.share(messages[0].content.array_records["model"])
        for post in self._posts:
            post.worker.learn(self._model)
        waiting = deque(Job(message) for message in messages)
        replies: list[Message | None] = []
        while len(replies) < len(messages):
            self._hand_out(waiting)
            for event in self._crew.wait([post.worker for post in self._posts], self._patience()):
                replies += self._hear(event)
            replies += self._end_overdue()
            self._tell_of_start()
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """End all workers."""
        for post in self._posts:
            post.worker.end()
        self._posts = []
        self._crew.close()

    def _hand_out(self, waiting: deque[Job]) -> None:
        for post in self._posts:
            if post.ready and post.job is None and waiting:
                post.job = waiting.popleft()
                self._begin(post)

    def _begin(self, post: Post[W]) -> None:
        if post.job is not None:
            post.since = time.monotonic()
            post.worker.give(_without_model(post.job.message))

    def _hear(self, event: Event) -> list[Message | None]:
        """What came of `event`: at most one client's reply (None where it gave none)."""
        post = next(post for post in self._posts if post.worker is event.worker)
        if event.news is News.READY:
            post.ready, self._stillborn = True, 0
            self._begin(post)  # the client that a worker before this one died of
            return []
        job = post.job
        if event.news is News.DONE:
            post.job = None
            return [event.reply]
        self._replace(post)
        if job is None:
            return []
        job.tries += 1
        if job.tries < MAX_TRIES:
            post.job = job
            return []
        return [error_reply(job.message, LOST, "its worker died, and another one on it")]

    def _tell_of_start(self) -> None:
        """Say when all workers are ready for the first time, and where some keep us waiting."""
        ready, size, name = sum(p.ready for p in self._posts), len(self._posts), self._crew.name
        waited = time.monotonic() - self._short_since
        if ready == size:
            if self._is_starting:
                log.info("%d %s ready after %.1f s", size, name, waited)
            self._is_starting, self._tell_after = False, SLOW_START
        elif waited >= self._tell_after:
            text = "%d of %d %s are ready after %.0f s%s"
            log.warning(text, ready, size, name, waited, self._crew.shortage())
            self._is_starting, self._tell_after = True, 2 * self._tell_after

    def _replace(self, post: Post[W]) -> None:
        if all(other.ready for other in self._posts):
            self._short_since = time.monotonic()
        self._stillborn += not post.ready
        if self._stillborn >= MAX_STILLBORN:
            raise RunError(f"{self._stillborn} workers in a row died before they were ready")
        post.worker.end()
        post.worker, post.ready, post.job = self._crew.hire(), False, None
        post.worker.learn(self._model)

    def _patience(self) -> float | None:
        """Seconds until the first client is overdue, or a missing worker is to be told of."""
        ends = []
        if self._limit is not None:
            ends = [p.since + self._limit + GRACE for p in self._posts if p.ready and p.job]
        if not all(post.ready for post in self._posts):
            ends.append(self._short_since + self._tell_after)
        return max(0.0, min(ends) - time.monotonic()) if ends else None

    def _end_overdue(self) -> list[Message | None]:
        if self._limit is None:
            return []
        late = time.monotonic() - self._limit - GRACE
        replies: list[Message | None] = []
        for post in self._posts:
            if post.ready and post.job and post.since <= late:
                text = f"took longer than {self._limit:g} s"
                replies.append(error_reply(post.job.message, TOO_LATE, text))
                self._replace(post)
        return replies


def _without_model(message: Message) -> Message:
    """`message` as a worker gets it, who has learned the model already."""
    content = RecordDict({k: v for k, v in message.content.items() if k != "model"})
    metadata = message.metadata
    light = Message(content, dst_node_id=metadata.dst_node_id, message_type=metadata.message_type)
    set_message_id(light, metadata.message_id)
    return light
