"""The one ClientApp: trains the client that the message names, whatever carried it here."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from fedsim.flower.messages import FIRST_NODE, read_order, reply_message
from fedsim.scenario import Scenario
from fedsim.simulation import Federation, Visit, visit, visit_together

client_app = ClientApp()

_worksite: list[tuple[Federation, nn.Module]] = []
"""The data and the workplace model of this process; nothing here outlives a visit's result."""


def open_worksite(federation: Federation) -> None:
    """Give this process the federation whose clients it will train."""
    set_exactness(federation.scenario)
    if not _worksite or _worksite[0][0] is not federation:
        _worksite[:] = [(federation, federation.build_model())]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block: bits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def set_exactness(scenario: Scenario) -> None:
    """With `engine.deterministic`, let CUDA take only algorithms that give the same bits."""
    exact = scenario.engine.deterministic
    if exact:
        # cuBLAS reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(exact)
    torch.backends.cudnn.benchmark = False


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Train this client from the global model of the message and reply with its update."""
    started = time.perf_counter()
    federation, model = _worksite[0]
    client = int(context.node_config["partition-id"])
    order, params, buffers = read_order(message, client)
    device = federation.device
    with torch_threads(1):
        order = _to(order, device)
        reply = visit(federation, model, params.to(device), buffers.to(device), order)
    return reply_message(replace(reply, seconds=time.perf_counter() - started), message)


def train_group(messages: Sequence[Message]) -> list[Message]:
    """Train the clients of all `messages`, which carry the same model, as one batch."""
    federation, model = _worksite[0]
    device = federation.device
    read = [read_order(message, message.metadata.dst_node_id - FIRST_NODE) for message in messages]
    if not read:
        return []
    orders = [_to(order, device) for order, _, _ in read]
    _, params, buffers = read[0]
    with torch_threads(1):
        replies = visit_together(federation, model, params.to(device), buffers.to(device), orders)
    return [reply_message(reply, message) for reply, message in zip(replies, messages, strict=True)]


def _to(order: Visit, device: torch.device) -> Visit:
    pattern = None if order.pattern is None else order.pattern.to(device)
    previous = None if order.previous_update is None else order.previous_update.to(device)
    return replace(order, pattern=pattern, previous_update=previous)
