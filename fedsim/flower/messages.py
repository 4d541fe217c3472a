"""What travels: the global model and an order to a client, an update and its facts back."""

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from torch import Tensor

from fedsim.simulation import Reply, Visit

FIRST_NODE = 1000
"""Node id of client 0; Flower keeps 0 and 1 for itself."""

TRAIN = "train"


class TensorRecord(ArrayRecord):
    """Tensors handed over by reference, within one process: they never leave their device."""

    def __init__(self, *tensors: Tensor) -> None:
        super().__init__()
        self.tensors = tensors


def model_record(params: Tensor, buffers: Tensor, *, by_reference: bool = False) -> ArrayRecord:
    """The global model as the message of a round carries it: two flat arrays."""
    return _record(by_reference, params, buffers)


def _record(by_reference: bool, *tensors: Tensor) -> ArrayRecord:
    if by_reference:
        return TensorRecord(*tensors)
    return ArrayRecord([tensor.cpu().numpy() for tensor in tensors])


def order_message(model: ArrayRecord, order: Visit) -> Message:
    """The message that asks a client to train in a round; all of it travels as `model` does."""
    config = ConfigRecord({"round": order.round, "acting": order.acting})
    content = RecordDict({"model": model, "config": config})
    for name, tensor in (("pattern", order.pattern), ("previous", order.previous_update)):
        if tensor is not None:
            content[name] = _record(isinstance(model, TensorRecord), tensor)
    return Message(content, dst_node_id=FIRST_NODE + order.client, message_type=TRAIN)


def read_order(message: Message, client: int) -> tuple[Visit, Tensor, Tensor]:
    """What a client is asked, with parameters and buffers of its own to write into."""
    config = message.content.config_records["config"]
    round_, acting = config["round"], config["acting"]
    if not isinstance(round_, int) or not isinstance(acting, bool):
        raise ValueError("an order needs a round and whether the client acts")
    arrays = message.content.array_records
    params, buffers = (_flat(tensor).clone() for tensor in _tensors(arrays["model"]))
    pattern, previous = (
        _tensors(arrays[name])[0].clone() if name in arrays else None
        for name in ("pattern", "previous")
    )
    return Visit(client, round_, acting, pattern, previous), params, buffers


def reply_message(reply: Reply, order: Message) -> Message:
    """A client's answer: update and buffers, which travel as the order did, and its claims."""
    if reply.update is None or reply.buffers is None:
        raise ValueError("a reply without an update cannot be sent")
    metrics: dict[str, int | float | list[int] | list[float]] = {
        "num-examples": reply.num_examples,
        "loss": reply.loss,
        "seconds": reply.seconds,
    }
    by_reference = isinstance(order.content.get("model"), TensorRecord)
    update = model_record(reply.update, reply.buffers, by_reference=by_reference)
    content = RecordDict({"update": update, "metrics": MetricRecord(metrics)})
    return Message(content, reply_to=order)


def read_reply(message: Message, client: int) -> Reply:
    """A client's answer as the server takes it; whatever cannot be read is `malformed`."""
    if message.has_error():
        failed = _REASONS.get(message.error.code, "raised")
        return Reply(client, None, None, 0, float("nan"), failed=failed)
    try:
        update, buffers = map(_flat, _tensors(message.content.array_records["update"]))
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


def _tensors(record: ArrayRecord) -> tuple[Tensor, ...]:
    if isinstance(record, TensorRecord):
        return record.tensors
    return tuple(torch.from_numpy(np.array(array)) for array in record.to_numpy_ndarrays())


def _flat(tensor: Tensor) -> Tensor:
    if tensor.ndim != 1 or tensor.dtype != torch.float32:
        raise ValueError(f"expected a flat float32 array; got {tensor.dtype} {tuple(tensor.shape)}")
    return tensor
