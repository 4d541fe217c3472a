"""What a round of fedsim costs above the same SGD steps in a bare PyTorch loop."""

import time
from collections.abc import Callable
from statistics import median
from typing import TypedDict

import torch
from rich.table import Table
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.flower import run_rounds
from fedsim.flower.client_app import torch_threads
from fedsim.scenario import load
from fedsim.seeding import generator
from fedsim.simulation import Federation, RoundRecord
from fedsim.tensors import flatten_params, load_params
from fedsim.types import Dataset, Split, to_float

NUM_TEST = 10
"""Images of the test split: the bare loop evaluates nothing, so the round hardly does."""


class Measurement(TypedDict):
    """Seconds of one round through fedsim and as a bare loop; `ratio` is the first over the second.

    `steps` counts the SGD steps of the round, over all its clients.
    """

    measured_s: float
    floor_s: float
    ratio: float
    clients: int
    steps: int
    threads: int
    device: str


def measure(
    *, clients: int = 50, batches: int = 5, batch_size: int = 64, repeats: int = 5
) -> Measurement:
    """Medians over interleaved `repeats` of a LeNet-5 round of `batches` steps a client.

    The images have MNIST's shape and are random: the arithmetic is the same.
    """
    federation = make_federation(clients, batches, batch_size)
    images = to_float(federation.data.train.images)
    with torch_threads(1):
        play_round(federation)  # the first calls import and allocate
        bare_round(federation, images)
        measured, floor = [], []
        for _ in range(repeats):
            measured.append(_seconds(lambda: play_round(federation)))
            floor.append(_seconds(lambda: bare_round(federation, images)))
    return Measurement(
        measured_s=median(measured),
        floor_s=median(floor),
        ratio=median(measured) / median(floor),
        clients=clients,
        steps=clients * batches,
        threads=1,
        device=str(federation.device),
    )


def table(measurement: Measurement) -> Table:
    """The measurement as a table of two rows."""
    m = measurement
    title = f"{m['clients']} clients, {m['steps']} SGD steps, {m['threads']} thread, {m['device']}"
    shown = Table(title=title)
    for heading in ("a round of LeNet-5", "seconds", "ms a client", "ratio"):
        shown.add_column(heading, justify="left" if heading.startswith("a ") else "right")
    for label, seconds in (("fedsim", m["measured_s"]), ("bare PyTorch", m["floor_s"])):
        per_client = f"{1000 * seconds / m['clients']:.1f}"
        shown.add_row(label, f"{seconds:.3f}", per_client, f"{seconds / m['floor_s']:.2f}")
    return shown


def make_federation(clients: int, batches: int, batch_size: int) -> Federation:
    """Clients with `batches` full batches of random images each, all of them in one round."""
    training = {"batch_size": batch_size, "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    scenario = {
        "name": "bench-train",
        "rounds": 1,
        "model": {"name": "lenet5"},
        "clients": {"total": clients, "per_round": clients, "training": {"epochs": 1, **training}},
        "engine": {"device": "cpu"},
    }
    size = batches * batch_size
    return Federation(
        scenario=load(scenario)[0].scenario,
        data=Dataset(_random_split(clients * size), _random_split(NUM_TEST), num_classes=10),
        clients=tuple(torch.arange(clients * size).split(size)),
        chosen=None,
        probe=None,
        root=None,
        device=torch.device("cpu"),
    )


def play_round(federation: Federation) -> tuple[Tensor, RoundRecord]:
    """The global parameters after one round of the in-process engine, and its record."""
    records: list[RoundRecord] = []
    state = run_rounds(federation, None, lambda _, record: records.append(record))
    return state.params, records[-1]


def bare_round(federation: Federation, images: Tensor) -> Tensor:
    """The same parameters from a plain loop over clients and batches; `images` are floats."""
    scenario, labels = federation.scenario, federation.data.train.labels
    training = scenario.clients.training
    model = federation.build_model()
    model.train()
    start = flatten_params(model)
    total = torch.zeros_like(start)
    for client, indices in enumerate(federation.clients):
        load_params(model, start)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=training.lr,
            momentum=training.momentum,
            weight_decay=training.weight_decay,
        )
        shuffle = generator(scenario.seed, "train", 1, client)
        for batch in torch.randperm(len(indices), generator=shuffle).split(training.batch_size):
            chosen = indices[batch]
            optimizer.zero_grad()
            cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
        total += flatten_params(model)
    return total / len(federation.clients)


def _random_split(count: int) -> Split:
    draws = generator(0, "bench", count)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=draws)
    return Split(images, torch.randint(0, 10, (count,), generator=draws))


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
