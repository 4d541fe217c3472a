"""The driver's side of a run: the state between rounds, and the one Strategy that moves it."""

import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import nn

from fedsim.flower.client_app import torch_threads
from fedsim.flower.messages import (
    FIRST_NODE,
    model_record,
    order_message,
    read_reply,
    reply_message,
)
from fedsim.simulation import (
    Cohort,
    Federation,
    Reply,
    RoundRecord,
    State,
    close_round,
    open_round,
)
from fedsim.simulation.adversary import craft, make_orders, prepare_attack
from fedsim.simulation.rounds import check_reply

log = logging.getLogger("fedsim")


@dataclass
class Session:
    """What changes while a run goes on. `record` is None until a round was closed."""

    federation: Federation
    model: nn.Module
    state: State
    cohort: Cohort | None = None
    record: RoundRecord | None = None
    attempt: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Why replies failed in the last round that had too few."""
    sent_at: float = 0.0
    opened: State | None = None
    """The state before the round, to which a round that is repeated goes back."""
    by_reference: bool = False
    """Whether messages hand over tensors, as within one process, or carry arrays."""

    def model_record(self) -> ArrayRecord:
        """The global model as messages carry it."""
        return model_record(self.state.params, self.state.buffers, by_reference=self.by_reference)

    @property
    def threads(self) -> int:
        """With how many threads rules, attacks and evaluation compute."""
        return self.federation.scenario.engine.server_threads


class FedsimStrategy(Strategy):
    """Flower's view of `open_round` and `close_round`; all rules and attacks lie behind them."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def summary(self) -> None:
        """Flower asks for one; the run folder tells it all."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Draw the cohort of the round and address the model to each of its clients."""
        session = self.session
        session.record, session.opened = None, session.state
        cohort = open_round(session.federation, session.state, session.attempt)
        with torch_threads(session.threads):
            session.state = prepare_attack(session.federation, session.model, session.state, cohort)
        session.cohort, session.sent_at = cohort, time.perf_counter()
        orders = make_orders(session.federation, session.state, cohort)
        return [order_message(arrays, order) for order in orders]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Close the round, unless fewer than `min_replies` came: then it is to be repeated."""
        session = self.session
        if session.cohort is None:
            raise ValueError("aggregate_train needs the cohort of configure_train")
        seconds, replies = time.perf_counter() - session.sent_at, list(replies)
        usable = [_read(session, message) for message in replies]
        _log_first_error(session.cohort.round, replies)
        missing = set(session.cohort.clients) - {reply.client for reply in usable}
        usable += [Reply(c, None, None, 0, float("nan"), failed="lost") for c in missing]
        server = session.federation.scenario.server
        if sum(reply.failed is None for reply in usable) < server.min_replies:
            session.attempt += 1
            session.reasons = Counter(str(reply.failed) for reply in usable if reply.failed)
            session.state = session.opened or session.state
            return None, None
        with torch_threads(session.threads):
            session.state, session.record = close_round(
                session.federation, session.model, session.state, session.cohort, usable, seconds
            )
        session.attempt = 0
        return session.model_record(), None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Clients do not evaluate: the server does, on the test split."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Nothing to aggregate."""
        return None


def _read(session: Session, message: Message) -> Reply:
    """The reply of a message, checked against the model and the clock."""
    scenario, state = session.federation.scenario, session.state
    reply = _on_device(read_reply(message, _sender(message)), state)
    limit = scenario.clients.timeout
    if reply.failed is None and limit is not None and reply.seconds > limit:
        return Reply(reply.client, None, None, 0, float("nan"), failed="timeout")
    return check_reply(reply, state)


def _log_first_error(round_: int, messages: Sequence[Message]) -> None:
    errors = [message for message in messages if message.has_error()]
    if errors:
        first = f"client {_sender(errors[0])}: {errors[0].error.reason}"
        log.warning("round %d: %d client(s) failed; %s", round_, len(errors), first)


def intercept(session: Session, messages: list[Message]) -> list[Message]:
    """The replies as they are really sent: the adversary replaces those of its acting clients."""
    cohort, adversary = session.cohort, session.federation.scenario.adversary
    if cohort is None or adversary is None or not adversary.attack or not cohort.acting:
        return messages
    honest = [_read(session, message) for message in messages]
    with torch_threads(session.threads):
        replies, memory = craft(session.federation, session.model, session.state, cohort, honest)
    session.state = replace(session.state, attack=memory)
    return [
        message if new is old else _resent(new, message)
        for message, old, new in zip(messages, honest, replies, strict=True)
    ]


def _resent(reply: Reply, message: Message) -> Message:
    """`message` with its content replaced by `reply`."""
    message.content = reply_message(reply, message).content
    return message


def _sender(message: Message) -> int:
    return int(message.metadata.src_node_id) - FIRST_NODE


def _on_device(reply: Reply, state: State) -> Reply:
    if reply.update is None or reply.buffers is None or state.params.device == torch.device("cpu"):
        return reply
    device = state.params.device
    return replace(reply, update=reply.update.to(device), buffers=reply.buffers.to(device))
