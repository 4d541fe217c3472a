"""The three private places of Flower that a Grid of one's own has to touch; nothing else may."""

from flwr.app import Message

try:
    from flwr.supercore.task_identity import TaskIdentity  # from 1.38 on: Message() asks for it
except ImportError:

    class TaskIdentity:  # type: ignore[no-redef]
        """Stands in where Flower has none yet."""


try:
    from flwr.supercore.run import Run
except ImportError:
    from flwr.common.typing import Run  # type: ignore[no-redef, attr-defined]

RUN_ID = 1


def identify_process() -> None:
    """Let this process make messages, unless Flower itself has started it and told it its name."""
    try:
        _ = TaskIdentity.run_id
        return
    except (AttributeError, RuntimeError):
        pass
    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = RUN_ID, 1, 1


def empty_run() -> Run:
    """The description of a run that a Grid has to carry."""
    return Run.create_empty(run_id=RUN_ID)


def set_message_id(message: Message, message_id: str) -> None:
    """Give `message` its id; there is no public setter."""
    message.metadata.__dict__["_message_id"] = message_id


__all__ = ["RUN_ID", "Run", "empty_run", "identify_process", "set_message_id"]
