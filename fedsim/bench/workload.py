"""What the benchmarks train, and the same work without fedsim around it."""

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from fedsim.scenario import load
from fedsim.seeding import generator
from fedsim.simulation import Federation
from fedsim.simulation.evaluation import BATCH
from fedsim.tensors import flatten_params, load_params
from fedsim.types import Dataset, Split

ROUNDS = 10**6
"""Rounds of a scenario of which as many are played as are measured."""


def make_federation(
    clients: int,
    batches: int,
    batch_size: int,
    *,
    model: str = "lenet5",
    num_test: int = 10,
    **engine: object,
) -> Federation:
    """Clients with `batches` full batches of random images each, all of them in every round.

    The images have MNIST's shape: the arithmetic is the same.
    """
    training = {"batch_size": batch_size, "lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    scenario = {
        "name": "bench",
        "rounds": ROUNDS,
        "model": {"name": model},
        "clients": {"total": clients, "per_round": clients, "training": {"epochs": 1, **training}},
        "engine": {"device": "cpu", **engine},
    }
    size = batches * batch_size
    return Federation(
        scenario=load(scenario)[0].scenario,
        data=Dataset(_random_split(clients * size), _random_split(num_test), num_classes=10),
        clients=tuple(torch.arange(clients * size).split(size)),
        chosen=None,
        probe=None,
        root=None,
        device=torch.device("cpu"),
    )


def _random_split(count: int) -> Split:
    draws = generator(0, "bench", count)
    images = torch.randint(0, 256, (count, 1, 28, 28), dtype=torch.uint8, generator=draws)
    return Split(images, torch.randint(0, 10, (count,), generator=draws))


def bare_round(federation: Federation, images: Tensor) -> Tensor:
    """The parameters after a first round, from a plain loop over clients and batches.

    `images` are those of the training split as floats.
    """
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


def bare_forward(model: torch.nn.Module, images: Tensor, batch: int = BATCH) -> Tensor:
    """The logits of all `images`, a plain loop over batches."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(part) for part in images.split(batch)])


def round_flops(federation: Federation, images: Tensor) -> int:
    """Multiplications and additions of a round: forward and backward of its steps, evaluation."""
    model, labels = federation.build_model(), federation.data.train.labels
    size = federation.scenario.clients.training.batch_size
    steps = sum(-(-len(indices) // size) for indices in federation.clients)
    with FlopCounterMode(display=False) as training:
        cross_entropy(model(images[:size]), labels[:size]).backward()
    with FlopCounterMode(display=False) as forward, torch.inference_mode():
        model(images[:1])
    evaluated = len(federation.data.test)
    return int(steps * training.get_total_flops() + evaluated * forward.get_total_flops())


MATRIX = 1024
"""Side of the matrices by whose product the machine's arithmetic is rated."""

MATRIX_FLOPS = 2 * MATRIX**3


def matrix_product() -> "partial[Tensor]":
    """A product of two square matrices, to be called."""
    a, b = torch.randn(2, MATRIX, MATRIX, generator=generator(0, "bench")).unbind()
    return partial(torch.mm, a, b)
