"""The clients of a run behind Flower's SuperNodes: the runner that reaches them, and their app."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from fedsim.datasets import default_source
from fedsim.errors import RunError
from fedsim.flower.client_app import open_worksite
from fedsim.flower.engine import RunnerOf
from fedsim.flower.messages import FIRST_NODE, LOST, TRAIN
from fedsim.flower.runners import call_client, error_reply
from fedsim.scenario import load as load_scenario
from fedsim.simulation import Federation, prepare

log = logging.getLogger("fedsim.start")

START = 120.0
"""Seconds that a node may take to start the process which trains a client."""

PATIENCE = 600.0
"""Seconds that the nodes may take to be there."""

POLL = 0.2

_GONE = (3, 5)
"""Flower's error codes of a message that nobody fetched and of a node that is not there."""

client_app = ClientApp()


@client_app.query()
def place(message: Message, context: Context) -> Message:
    """Tell which part of the clients this node stands for."""
    keys = ("partition-id", "num-partitions")
    return Message(_config("place", **{k: context.node_config[k] for k in keys}), reply_to=message)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train the client that the server names, from this node's own copy of the data."""
    errand = message.content.config_records["errand"]
    open_worksite(_federation(str(errand["scenario"]), str(errand["hash"])))
    order = Message(message.content, FIRST_NODE + int(str(errand["client"])), TRAIN)
    reply = call_client(order) or error_reply(order, LOST, "the client gave no reply")
    if reply.has_error():
        return Message(reply.error, reply_to=message)
    return Message(reply.content, reply_to=message)


@lru_cache(maxsize=1)
def _federation(text: str, hash8: str) -> Federation:
    """The federation of the scenario in `text`."""
    [cell] = load_scenario(json.loads(text))
    if cell.scenario.hash8 != hash8:
        raise RunError("this node's fedsim, or a file that the scenario names, is not the server's")
    return prepare(cell.scenario, default_source())


class SuperNodes:
    """A runner over the nodes behind Flower's own Grid.

    Node p of n stands for the clients p, p + n, p + 2n, … The messages say what to do in full, so
    nodes hold nothing but the data.
    """

    by_reference = False

    def __init__(self, grid: Grid, federation: Federation) -> None:
        self._grid, self._scenario = grid, federation.scenario
        self._text = json.dumps(federation.scenario.resolved())
        self._nodes = find_nodes(grid, PATIENCE)

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """The replies that come in time, in the order in which they came."""
        sent = self._grid.push_messages([self._errand(message) for message in messages])
        waiting = dict(zip(sent, messages, strict=False))
        late, replies = time.monotonic() + self._time_for(len(messages)), []
        while waiting and time.monotonic() < late:
            for reply in self._grid.pull_messages(list(waiting)):
                order = waiting.pop(reply.metadata.reply_to_message_id)
                replies.append(_readdressed(reply, order))
            time.sleep(POLL)
        return replies

    def close(self) -> None:
        """Nothing to let go of: nodes outlive a run."""

    def _errand(self, message: Message) -> Message:
        """`message` addressed to the node of its client, with what the node has to know."""
        client = message.metadata.dst_node_id - FIRST_NODE
        facts = {"client": client, "scenario": self._text, "hash": self._scenario.hash8}
        content = RecordDict({**message.content, **_config("errand", **facts)})
        return Message(content, self._nodes[client % len(self._nodes)], TRAIN)

    def _time_for(self, count: int) -> float:
        """Seconds after which `count` clients, one after the other on one node, are given up."""
        limit = self._scenario.clients.timeout
        return float("inf") if limit is None else count * (START + limit)


def find_nodes(grid: Grid, patience: float) -> list[int]:
    """Node ids by `partition-id`, once all `num-partitions` of them have told theirs.

    Raises: RunError after `patience` seconds, or if two nodes claim the same part.
    """
    began, told = time.monotonic(), 0.0
    found: dict[int, int] = {}
    known: set[int] = set()
    waiting: dict[str, int] = {}
    total: int | None = None
    log.info("waiting for SuperNodes")
    while total is None or len(found) < total:
        waited = time.monotonic() - began
        if waited > patience:
            raise RunError(f"{len(found)} of {total or '?'} SuperNodes came within {patience:g} s")
        if waited > told + 10:
            told = waited
            log.warning(
                "%d of %s SuperNodes are there after %d s", len(found), total or "?", waited
            )
        new = [node for node in grid.get_node_ids() if node not in known]
        known.update(new)
        waiting.update(zip(_ask(grid, new), new, strict=False))
        for reply in grid.pull_messages(list(waiting)) if waiting else ():
            node = waiting.pop(reply.metadata.reply_to_message_id)
            part, total = _place(reply, node)
            if found.setdefault(part, node) != node:
                raise RunError(f"two SuperNodes have the node config partition-id={part}")
        time.sleep(POLL)
    log.info("%d SuperNodes ready after %.1f s", total, time.monotonic() - began)
    return [found[part] for part in range(total)]


def _ask(grid: Grid, nodes: Sequence[int]) -> Iterable[str]:
    return grid.push_messages([Message(RecordDict(), node, "query") for node in nodes])


def _place(reply: Message, node: int) -> tuple[int, int]:
    """(`partition-id`, `num-partitions`) of a node."""
    text = "needs --node-config 'partition-id=K num-partitions=N' with 0 <= K < N"
    if reply.has_error():
        raise RunError(f"SuperNode {node}: {reply.error.reason}. It {text}")
    told = reply.content.config_records["place"]
    part, total = told["partition-id"], told["num-partitions"]
    if not isinstance(part, int) or not isinstance(total, int) or not 0 <= part < total:
        raise RunError(f"SuperNode {node}: {text}")
    return part, total


def _readdressed(reply: Message, order: Message) -> Message:
    """A node's reply as that of the client that `order` went to."""
    if not reply.has_error():
        return Message(reply.content, reply_to=order)
    code = LOST if reply.error.code in _GONE else reply.error.code
    return error_reply(order, code, reply.error.reason or "no reason given")


def _config(name: str, **values: Any) -> RecordDict:
    return RecordDict({name: ConfigRecord(values)})


def make_server_app(play: Callable[[Mapping[str, Any], RunnerOf], None]) -> ServerApp:
    """The ServerApp that calls `play` with the run config and what makes the runner."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        play(context.run_config, partial(SuperNodes, grid))

    return app
