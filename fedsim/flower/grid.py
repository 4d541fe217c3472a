"""Our Grid: carries messages to a runner, and lets the adversary speak before the server hears."""

from collections.abc import Callable, Iterable, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.flower._private import Run, empty_run, identify_process, set_message_id
from fedsim.flower.messages import FIRST_NODE
from fedsim.flower.runners import Runner

Intercept = Callable[[list[Message]], list[Message]]
"""All replies of a round as the clients made them → as they are sent."""


class SimulationGrid(Grid):
    """A Grid without sockets over any `Runner`."""

    def __init__(self, num_clients: int, runner: Runner, intercept: Intercept) -> None:
        identify_process()
        self._nodes = [FIRST_NODE + client for client in range(num_clients)]
        self._runner, self._intercept = runner, intercept
        self._run, self._sent = empty_run(), 0
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Take the description of the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The description of the run."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message, the old way."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The node ids of all clients, in order."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver `messages`, keep the replies, return the ids to ask for them."""
        batch = list(messages)
        for message in batch:
            self._sent += 1
            set_message_id(message, f"m{self._sent}")
        if batch:
            for reply in self._intercept(self._runner.run(batch)):
                self._replies[reply.metadata.reply_to_message_id] = reply
        return [message.metadata.message_id for message in batch]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies to `message_ids` that have arrived."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Sequence[Message]:
        """Deliver `messages` and return their replies."""
        return list(self.pull_messages(self.push_messages(messages)))
