"""The one ClientApp: trains the client that the message names, whatever carried it here."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import nn

from fedsim.flower.faults import fault_of, faulty_reply, play_before
from fedsim.flower.messages import FIRST_NODE, read_order, reply_message
from fedsim.scenario import Scenario
from fedsim.simulation import Federation, Visit, visit, visit_together
from fedsim.tensors import torch_threads as torch_threads

client_app = ClientApp()


class Worksite(NamedTuple):
    """The data and the workplace model of this process; nothing here outlives a visit's result."""

    federation: Federation
    model: nn.Module
    expendable: bool
    """Whether the process is a worker, which may be ended."""


_worksite: list[Worksite] = []


def open_worksite(federation: Federation, *, expendable: bool = False) -> None:
    """Give this process the federation whose clients it will train."""
    set_exactness(federation.scenario)
    if not _worksite or _worksite[0].federation is not federation:
        _worksite[:] = [Worksite(federation, federation.build_model(), expendable)]


def close_worksite() -> None:
    """Let go of the federation."""
    _worksite.clear()


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
    federation, model, expendable = _worksite[0]
    client = int(context.node_config["partition-id"])
    order, params, buffers = read_order(message, client)
    fault = fault_of(federation.scenario, client, order.round)
    if fault is not None:
        play_before(fault, federation.scenario.clients.timeout, expendable)
    device = federation.device
    with torch_threads(1):
        order = _to(order, device)
        reply = visit(federation, model, params.to(device), buffers.to(device), order)
    reply = replace(reply, seconds=time.perf_counter() - started)
    return reply_message(reply, message) if fault is None else faulty_reply(fault, reply, message)


def train_group(messages: Sequence[Message]) -> list[Message]:
    """Train the clients of all `messages`, which carry the same model, as one batch."""
    if not messages:
        return []
    federation, model, _ = _worksite[0]
    device = federation.device
    _, params, buffers = read_order(messages[0], _client_of(messages[0]))
    orders = [_to(read_order(message, _client_of(message))[0], device) for message in messages]
    with torch_threads(1):
        replies = visit_together(federation, model, params.to(device), buffers.to(device), orders)
    return [reply_message(reply, message) for reply, message in zip(replies, messages, strict=True)]


def has_fault(message: Message) -> bool:
    """Whether the client of `message` is to play a fault in its round."""
    scenario = _worksite[0].federation.scenario
    if not scenario.faults:
        return False
    order, _, _ = read_order(message, _client_of(message))
    return fault_of(scenario, order.client, order.round) is not None


def _client_of(message: Message) -> int:
    return int(message.metadata.dst_node_id) - FIRST_NODE


def _to(order: Visit, device: torch.device) -> Visit:
    pattern = None if order.pattern is None else order.pattern.to(device)
    previous = None if order.previous_update is None else order.previous_update.to(device)
    return replace(order, pattern=pattern, previous_update=previous)
