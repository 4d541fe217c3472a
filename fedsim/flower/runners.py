"""Where clients are trained: in this process, or by a pool of workers."""

import logging
from collections.abc import Sequence
from typing import Protocol

from flwr.app import Context, Error, Message, RecordDict

from fedsim.flower._private import RUN_ID, identify_process
from fedsim.flower.client_app import (
    client_app,
    close_worksite,
    has_fault,
    open_worksite,
    train_group,
)
from fedsim.flower.faults import LostError, SilentError
from fedsim.flower.messages import FIRST_NODE, LOST, RAISED
from fedsim.simulation import Federation

log = logging.getLogger("fedsim")


class Runner(Protocol):
    """Takes the messages of a round to their clients and brings the replies back."""

    by_reference: bool
    """Whether messages may hand over tensors, as all stays in this process."""

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """The replies, at most one for each message, in any order."""

    def close(self) -> None:
        """Let go of processes and memory."""


class Sequential:
    """Trains one client after the other in this process."""

    by_reference = True

    def __init__(self, federation: Federation) -> None:
        self.federation = federation

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """The replies in the order of the messages."""
        open_worksite(self.federation)
        replies = (call_client(message) for message in messages)
        return [reply for reply in replies if reply is not None]

    def close(self) -> None:
        """Let go of the federation."""
        close_worksite()


class Together:
    """Trains the whole cohort of a round as one batch in this process."""

    by_reference = True

    def __init__(self, federation: Federation) -> None:
        self.federation = federation

    def run(self, messages: Sequence[Message]) -> list[Message]:
        """The replies; clients with a fault to play are trained alone, as all are if one raises."""
        open_worksite(self.federation)
        alone = [message for message in messages if has_fault(message)]
        group = [message for message in messages if not has_fault(message)]
        together: list[Message] = []
        try:
            together = train_group(group)
        except Exception as error:  # one may be to blame: each for itself tells which
            text = f"{type(error).__name__}: {error}"
            log.warning("clients are trained one after the other in this round: %s", text)
            alone = list(messages)
        replies = [call_client(message) for message in alone]
        return [*together, *(reply for reply in replies if reply is not None)]

    def close(self) -> None:
        """Let go of the federation."""
        close_worksite()


def call_client(message: Message) -> Message | None:
    """What the ClientApp replies to `message`, if anything; an exception is an error reply."""
    client = message.metadata.dst_node_id - FIRST_NODE
    context = Context(
        run_id=RUN_ID,
        node_id=message.metadata.dst_node_id,
        node_config={"partition-id": client},
        state=RecordDict(),
        run_config={},
    )
    try:
        return client_app(message, context)
    except SilentError:
        return None
    except LostError as error:
        return error_reply(message, LOST, str(error))
    except Exception as error:  # whatever a client does, the round goes on with the others
        return error_reply(message, RAISED, f"{type(error).__name__}: {error}")


def error_reply(message: Message, code: int, reason: str) -> Message:
    """The reply that says why there is none."""
    return Message(Error(code, reason), reply_to=message)


def start_worker(federation: Federation) -> None:
    """Make this process a worker for the federation."""
    identify_process()
    open_worksite(federation, expendable=True)
