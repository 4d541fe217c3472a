"""What travels: the global model and an order to a client, an update and its facts back."""

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from fedsim.simulation import Reply, Visit

FIRST_NODE = 1000
"""Node id of client 0; Flower keeps 0 and 1 for itself."""

TRAIN = "train"


def model_record(params: Tensor, buffers: Tensor) -> ArrayRecord:
    """The global model as the message of a round carries it: two flat arrays."""
    return ArrayRecord([params.cpu().numpy(), buffers.cpu().numpy()])


def order_message(model: ArrayRecord, order: Visit) -> Message:
    """The message that asks a client to train in a round."""
    config = ConfigRecord({"round": order.round, "acting": order.acting})
    content = RecordDict({"model": model, "config": config})
    for name, tensor in (("pattern", order.pattern), ("previous", order.previous_update)):
        if tensor is not None:
            content[name] = ArrayRecord([tensor.cpu().numpy()])
    return Message(content, dst_node_id=FIRST_NODE + order.client, message_type=TRAIN)


def read_order(message: Message, client: int) -> tuple[Visit, Tensor, Tensor]:
    """What a client is asked, with the global parameters and buffers."""
    config = message.content.config_records["config"]
    round_, acting = config["round"], config["acting"]
    if not isinstance(round_, int) or not isinstance(acting, bool):
        raise ValueError("an order needs a round and whether the client acts")
    arrays = message.content.array_records
    params, buffers = _tensors(arrays["model"])
    pattern, previous = (
        torch.from_numpy(np.array(arrays[name].to_numpy_ndarrays()[0])) if name in arrays else None
        for name in ("pattern", "previous")
    )
    return Visit(client, round_, acting, pattern, previous), params, buffers


def reply_message(reply: Reply, order: Message) -> Message:
    """A client's answer: update, buffers, and the facts it claims."""
    if reply.update is None or reply.buffers is None:
        raise ValueError("a reply without an update cannot be sent")
    metrics: dict[str, int | float | list[int] | list[float]] = {
        "num-examples": reply.num_examples,
        "loss": reply.loss,
        "seconds": reply.seconds,
    }
    content = RecordDict(
        {"update": model_record(reply.update, reply.buffers), "metrics": MetricRecord(metrics)}
    )
    return Message(content, reply_to=order)


def read_reply(message: Message, client: int) -> Reply:
    """A client's answer as the server takes it; whatever cannot be read is `malformed`."""
    if message.has_error():
        failed = _REASONS.get(message.error.code, "raised")
        return Reply(client, None, None, 0, float("nan"), failed=failed)
    try:
        update, buffers = _tensors(message.content.array_records["update"])
        metrics = message.content.metric_records["metrics"]
        loss, seconds = _number(metrics["loss"]), _number(metrics["seconds"])
        count = metrics["num-examples"]
    except Exception:  # a client may send anything, and NumPy answers junk with many exceptions
        return Reply(client, None, None, 0, float("nan"), failed="malformed")
    if not isinstance(count, int):
        return Reply(client, update, buffers, 0, loss, failed="bad_count")
    return Reply(client, update, buffers, count, loss, seconds)


RAISED, TOO_LATE, LOST = 2, 4, 8
"""Flower's error codes: the app raised, its reply is not available, it stopped responding."""

_REASONS = {TOO_LATE: "timeout", LOST: "lost"}


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"expected a number; got {value!r}")
    return float(value)


def _tensors(record: ArrayRecord) -> tuple[Tensor, Tensor]:
    first, second = record.to_numpy_ndarrays()
    return _tensor(first), _tensor(second)


def _tensor(array: np.ndarray) -> Tensor:
    if array.ndim != 1 or array.dtype != np.float32:
        raise ValueError(f"expected a flat float32 array; got {array.dtype} {array.shape}")
    return torch.from_numpy(np.array(array))
