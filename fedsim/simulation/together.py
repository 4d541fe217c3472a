"""A cohort's visits trained together, in chunks that fit into memory."""

import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fedsim.seeding import seeded
from fedsim.simulation.client import Reply, Visit, honest_plan, make_lesson, malicious_plan, visit
from fedsim.simulation.federation import Federation
from fedsim.simulation.stacked import survey
from fedsim.simulation.vectorised import train_together
from fedsim.tensors import flatten_buffers, load_buffers

CPU_BUDGET = 2 * 2**30
"""Bytes that a chunk may take on the CPU."""

CUDA_SHARE = 0.6
"""Share of the free memory of a GPU that a chunk may take."""

ROWS = 6
"""Vectors of all parameters per client: parameters, gradient, velocity, update, and work space."""


def visit_together(
    federation: Federation,
    model: nn.Module,
    params: Tensor,
    buffers: Tensor,
    orders: Sequence[Visit],
) -> list[Reply]:
    """`[visit(…, order) for order in orders]`, trained many at a time where the network allows.

    The replies are equal within what the order of float32 sums explains. Networks that
    `stacked.why_apart` finds unfit are trained one after the other. `model` is only a workplace,
    and every order is for another client.
    """
    found = survey(model, federation.data.shape)
    if found.apart is not None:
        return [visit(federation, model, params, buffers, order) for order in orders]

    def cost(order: Visit) -> tuple[int, int]:
        return _cost(federation, params, found.bytes_per_image, order)

    replies = [
        reply
        for chunk in chunked(orders, cost, budget(federation.device))
        for reply in _visit_chunk(federation, model, params, buffers, chunk)
    ]
    by_client = {reply.client: reply for reply in replies}
    return [by_client[order.client] for order in orders]


def chunked(
    orders: Sequence[Visit], cost: Callable[[Visit], tuple[int, int]], budget: int
) -> Iterator[list[Visit]]:
    """The orders in groups that take at most `budget` bytes, single ones more if they must.

    `cost` gives an order's bytes for a step on its batch and for all else. A step costs each of a
    group what it costs the dearest, so those alike come together.
    """
    chunk: list[Visit] = []
    dearest = total = 0
    for order in sorted(orders, key=cost, reverse=True):
        batch, rest = cost(order)
        if chunk and total + rest + dearest * (len(chunk) + 1) > budget:
            yield chunk
            chunk, total = [], 0
        dearest = dearest if chunk else batch
        chunk.append(order)
        total += rest
    if chunk:
        yield chunk


def budget(device: torch.device) -> int:
    """Bytes that a chunk may take on `device`."""
    if device.type != "cuda":
        return CPU_BUDGET
    free, _ = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(CUDA_SHARE * (free + idle))


def _cost(
    federation: Federation, params: Tensor, bytes_per_image: int, order: Visit
) -> tuple[int, int]:
    """Estimated bytes of a client: of a step (kept for the gradient, and as much again), the rest.

    Its images are counted twice, as they are in its lesson and in the pool of the chunk.
    """
    plan = honest_plan(federation, order.round)
    if order.acting:
        plan, _ = malicious_plan(federation, order.round)
    count, pixels = len(federation.clients[order.client]), federation.data.train.images[0].numel()
    images = 2 * count * pixels * params.element_size()
    width = min(plan.batch_size, count)
    return 2 * width * bytes_per_image, images + ROWS * params.nbytes


def _visit_chunk(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor, orders: list[Visit]
) -> list[Reply]:
    """The replies of clients that are trained as one, halved as long as the GPU has no room."""
    try:
        return _train_chunk(federation, model, params, buffers, orders)
    except torch.cuda.OutOfMemoryError:
        if len(orders) == 1:
            raise
    torch.cuda.empty_cache()
    middle = len(orders) // 2
    return [
        reply
        for half in (orders[:middle], orders[middle:])
        for reply in _visit_chunk(federation, model, params, buffers, half)
    ]


def _train_chunk(
    federation: Federation, model: nn.Module, params: Tensor, buffers: Tensor, orders: list[Visit]
) -> list[Reply]:
    started, seed, lessons = time.perf_counter(), federation.scenario.seed, []
    for order in orders:
        with seeded(seed, "layers", order.round, order.client):
            lessons.append(make_lesson(federation, model, params, buffers, order))
    with seeded(seed, "layers-together", orders[0].round):
        rows, losses = train_together(model, params, lessons)
    updates = rows - params
    load_buffers(model, buffers)
    after = flatten_buffers(model)
    seconds = (time.perf_counter() - started) / len(orders)
    return [
        Reply(order.client, update, after, len(lesson.data), loss, seconds)
        for order, lesson, update, loss in zip(
            orders, lessons, updates, losses.tolist(), strict=True
        )
    ]
