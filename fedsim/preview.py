"""What a scenario will do, found out from its data before any round is run."""

import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from fedsim.datasets import default_source
from fedsim.errors import InputError
from fedsim.flower.engine import num_workers
from fedsim.gallery import changed_rows, examples
from fedsim.privacy import spent
from fedsim.reporting.preview import preview_html
from fedsim.scenario import Cell, Scenario
from fedsim.seeding import generator
from fedsim.simulation import Federation, Visit, attackers, pool, prepare_cell
from fedsim.simulation.client import honest_plan, malicious_plan, poisoned_data
from fedsim.simulation.evaluation import evaluate
from fedsim.simulation.network import network_of
from fedsim.simulation.training import Plan, train_local
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import Network, Split

WIDEST = 40
"""Pixels that still fit on a terminal, two characters each."""


@dataclass(frozen=True)
class Preview:
    """Lines for the terminal and the same as a page with pictures."""

    lines: list[str]
    html: str


def preview_cell(cell: Cell, question: str = "", download: bool = False) -> Preview:
    """What the cell will do; nothing is trained but a few steps, to estimate the time."""
    federation = prepare_cell(cell, default_source(download=download))
    scenario = federation.scenario
    counts = class_counts(federation)
    members = pool(scenario, 1)
    shares = {client: poisoned_share(federation, client) for client in members}
    rounds = range(1, scenario.rounds + 1)
    acting = [(r, ready) for r in rounds if (ready := attackers(scenario, r))]
    shown = examples(federation)
    seconds = estimate_seconds(federation)
    lines = [
        *_data_lines(federation, counts),
        *_attack_lines(scenario, shares, acting),
        *_trigger_lines(shown),
        *_privacy_lines(scenario),
        f"estimated time: {seconds:.0f} s on {federation.device}, "
        f"{num_workers(scenario)} worker(s); a cell, without its clean twin",
    ]
    page = preview_html(
        scenario.resolved(),
        counts.numpy(),
        members,
        shares,
        {name: images.cpu().numpy() for name, images in shown.items()},
        acting,
        seconds,
        question,
    )
    return Preview(lines, page)


def class_counts(federation: Federation) -> Tensor:
    """Images per client and class, (clients, classes)."""
    labels = federation.data.train.labels.cpu()
    k = federation.data.num_classes
    return torch.stack([torch.bincount(labels[i], minlength=k) for i in federation.clients])


def poisoned_share(federation: Federation, client: int, round_: int = 1) -> float:
    """The share of the images that `client` trains on as an attacker which its poison changed.

    A poison that looks into the global model sees the initial one.
    """
    data = federation.data.train.take(federation.clients[client])
    order = Visit(client, round_, acting=True)
    network = partial(_initial_network, federation)
    changed, batch_poison = poisoned_data(federation, order, data, network)
    if batch_poison is None:
        return len(changed_rows(data, changed)) / len(changed)
    plan, _ = malicious_plan(federation, round_)
    total = 0
    for rows in torch.arange(len(data)).split(plan.batch_size):
        batch = Split(data.images[rows], data.labels[rows])
        total += len(changed_rows(batch, Split(*batch_poison(batch.images, batch.labels))))
    return total / len(data)


def _initial_network(federation: Federation) -> Network:
    """The global model before round 1, as functions."""
    model = federation.build_model()
    return network_of(model, flatten_params(model), flatten_buffers(model))


def estimate_seconds(federation: Federation, steps: int = 3) -> float:
    """Seconds that the run should take, from a few steps of training and one evaluation here."""
    scenario, model = federation.scenario, federation.build_model()
    sizes = sorted(len(indices) for indices in federation.clients)
    typical = sizes[len(sizes) // 2]
    sample = federation.data.train.take(federation.clients[0])
    trial = Plan(
        lr=1e-6, epochs=None, steps=steps, batch_size=honest_plan(federation, 1).batch_size
    )
    seconds_per_step = _time_steps(model, sample, trial)
    started = time.perf_counter()
    evaluate(federation, model, flatten_params(model), flatten_buffers(model))
    evaluation = time.perf_counter() - started
    per_round = scenario.clients.per_round * honest_plan(federation, 1).num_steps(typical)
    acting = sum(len(attackers(scenario, r)) for r in range(1, scenario.rounds + 1))
    extra = malicious_plan(federation, 1)[0].num_steps(typical)
    all_steps = per_round * scenario.rounds + extra * min(
        acting, scenario.rounds * scenario.clients.per_round
    )
    training = all_steps * seconds_per_step / num_workers(scenario)
    return training + evaluation * (scenario.rounds // scenario.evaluate_every + 1)


def _time_steps(model: torch.nn.Module, sample: Split, trial: Plan) -> float:
    train_local(model, sample, trial, generator(0, "warm-up"))
    started = time.perf_counter()
    train_local(model, sample, trial, generator(0, "trial"))
    return (time.perf_counter() - started) / (trial.steps or 1)


def _data_lines(federation: Federation, counts: Tensor) -> list[str]:
    sizes, present = counts.sum(dim=1), (counts > 0).sum(dim=1)
    scenario, (c, h, w) = federation.scenario, federation.data.shape
    return [
        f"data: {scenario.data.dataset.name}, {len(federation.data.train)} training and "
        f"{len(federation.data.test)} test images of {c}x{h}x{w}, "
        f"{federation.data.num_classes} classes",
        f"clients: {len(sizes)}, {scenario.clients.per_round} a round; images each: "
        f"{int(sizes.min())} to {int(sizes.max())}, median {int(sizes.median())}; "
        f"classes each: {int(present.min())} to {int(present.max())}",
        "images by class: " + " ".join(map(str, counts.sum(dim=0).tolist())),
    ]


def _attack_lines(
    scenario: Scenario, shares: dict[int, float], acting: list[tuple[int, tuple[int, ...]]]
) -> list[str]:
    if not shares:
        return ["adversary: none"]
    told = [f"{client}: {share:.0%}" for client, share in list(shares.items())[:20]]
    more = f" and {len(shares) - 20} more" if len(shares) > 20 else ""
    rounds = [round_ for round_, _ in acting]
    when = f"{len(rounds)} rounds, {rounds[0]} to {rounds[-1]}" if rounds else "never"
    forced = scenario.adversary is not None and scenario.adversary.schedule.forced
    return [
        f"adversary: {len(shares)} clients; poisoned share: {', '.join(told)}{more}",
        f"attacks: {when}" + (", always in the cohort" if forced else ", when drawn"),
    ]


def _privacy_lines(scenario: Scenario, delta: float = 1e-5) -> list[str]:
    """What clipping and noise grant the clients, where there is noise."""
    try:
        granted = spent(scenario, delta)
    except InputError as error:
        return [f"client-level privacy: {error}"]
    if granted is None:
        return []
    if granted["epsilon"] is None:
        return [f"client-level privacy: none, {granted['reason']}"]
    return [
        f"client-level privacy: ε = {granted['epsilon']:.4g} at δ = {delta:g}, "
        f"noise multiplier {granted['noise_multiplier']:.3g}, "
        f"a client in {granted['sampling']:.2%} of {granted['rounds']} rounds"
    ]


def _trigger_lines(shown: dict[str, Tensor]) -> list[str]:
    if "stamped" not in shown or shown["clean"].shape[-1] > WIDEST:
        return []
    changed = (shown["clean"][0] != shown["stamped"][0]).any(dim=0)
    rows = ["".join(" #" if pixel else " ." for pixel in row) for row in changed.tolist()]
    return ["trigger (pixels that it changes on the first test image):", *rows]
