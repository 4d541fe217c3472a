"""The round: open it (who takes part), close it (what the server makes of the replies)."""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from fedsim.errors import PreconditionError, RunError
from fedsim.seeding import generator, seeded
from fedsim.simulation.client import Reply, honest_plan
from fedsim.simulation.evaluation import evaluate, predictor
from fedsim.simulation.federation import Federation
from fedsim.simulation.pipeline import pipeline
from fedsim.simulation.projection import is_pictured, picture
from fedsim.simulation.roles import Cohort, draw_cohort
from fedsim.simulation.training import train_local
from fedsim.simulation.watching import watch
from fedsim.tensors import flatten_buffers, flatten_params, layers_of, load_buffers, load_params
from fedsim.types import Aggregate, ServerView

MAX_EXAMPLES = 10**9
"""A client that claims more examples than this is not believed."""


@dataclass(frozen=True)
class State:
    """All that a run carries from round to round; with the scenario it determines the rest."""

    round: int
    params: Tensor
    buffers: Tensor
    previous_params: Tensor | None = None
    rule: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    attack: tuple[dict[str, Any], ...] = ()
    pattern: Tensor | None = None
    """That of a learned trigger, once one was learned."""
    monitors: tuple[dict[str, Any], ...] = ()
    """What each monitor remembers."""


@dataclass(frozen=True)
class RoundRecord:
    """A line of rounds.jsonl, the lines of clients.jsonl, and the flags that the round raised.

    `alarms` are sentences of the monitors, by their names.
    """

    round: dict[str, Any]
    clients: list[dict[str, Any]]
    flags: tuple[str, ...] = ()
    alarms: Mapping[str, str] = field(default_factory=dict)
    picture: dict[str, Any] | None = None
    """What updates.json holds, of the one round that is pictured."""


def initial_state(model: nn.Module) -> State:
    """The state before round 1: the model as initialised."""
    return State(round=0, params=flatten_params(model), buffers=flatten_buffers(model))


def initial_record(federation: Federation, model: nn.Module, state: State) -> RoundRecord:
    """Round 0: the initial model, evaluated."""
    started = time.perf_counter()
    scores = evaluate(federation, model, state.params, state.buffers)
    seconds = {"train": 0.0, "aggregate": 0.0, "evaluate": time.perf_counter() - started}
    counts = {"num_clients": 0, "num_malicious": 0, "num_failed": 0, "update_norm": None}
    return RoundRecord({"round": 0, **scores, **counts, "seconds": seconds}, [])


def open_round(federation: Federation, state: State, attempt: int = 0) -> Cohort:
    """The cohort of the round after `state`."""
    return draw_cohort(federation.scenario, state.round + 1, attempt)


def close_round(
    federation: Federation,
    model: nn.Module,
    state: State,
    cohort: Cohort,
    replies: Sequence[Reply],
    train_seconds: float,
) -> tuple[State, RoundRecord]:
    """Aggregate the valid replies, step the global model, evaluate, and write it all down."""
    started = time.perf_counter()
    replies = sorted(replies, key=lambda reply: reply.client)
    valid = [reply for reply in replies if reply.failed is None]
    view, outcome, flags = _aggregate(federation, model, state, cohort, valid)
    after = _step(federation, state, cohort, view, outcome, valid)
    aggregated = time.perf_counter()
    scenario, scores = federation.scenario, dict.fromkeys(_SCORES)
    if cohort.round % scenario.evaluate_every == 0 or cohort.round == scenario.rounds:
        scores = evaluate(federation, model, after.params, after.buffers, after.pattern)
    after, alarms = watch(federation, model, after)
    record = {
        "round": cohort.round,
        **scores,
        "num_clients": len(cohort.clients),
        "num_malicious": len(cohort.acting),
        "num_failed": len(replies) - len(valid),
        "update_norm": float(torch.linalg.vector_norm(after.params - state.params)),
        "seconds": {
            "train": train_seconds,
            "aggregate": aggregated - started,
            "evaluate": time.perf_counter() - aggregated,
        },
    }
    clients = _client_records(cohort, replies, outcome)
    pictured = picture(cohort, valid, outcome) if is_pictured(scenario, cohort.round) else None
    return after, RoundRecord(record, clients, flags, alarms, pictured)


_SCORES = ("accuracy", "loss", "attack_success_rate", "robust_accuracy")


def check_reply(reply: Reply, like: State) -> Reply:
    """`reply`, marked failed if its shapes, values or example count cannot be used."""
    if reply.failed is not None or reply.update is None or reply.buffers is None:
        return reply
    failed = None
    if reply.update.shape != like.params.shape or reply.buffers.shape != like.buffers.shape:
        failed = "malformed"
    elif not (torch.isfinite(reply.update).all() and torch.isfinite(reply.buffers).all()):
        failed = "non_finite"
    elif not 0 < reply.num_examples <= MAX_EXAMPLES:
        failed = "bad_count"
    return replace(reply, failed=failed)


def server_view(
    federation: Federation, model: nn.Module, state: State, cohort: Cohort, valid: Sequence[Reply]
) -> ServerView:
    """What the rule sees of this round: copies, so that writing in place harms nobody."""
    seed, device = federation.scenario.seed, federation.device
    root_update = None
    if federation.root is not None:
        load_params(model, state.params)
        load_buffers(model, state.buffers)
        plan = honest_plan(federation, cohort.round)
        with seeded(seed, "root-layers", cohort.round):
            train_local(model, federation.root, plan, generator(seed, "root", cohort.round))
        root_update = flatten_params(model) - state.params
    root = federation.root
    return ServerView(
        client_ids=tuple(reply.client for reply in valid),
        num_examples=torch.tensor([reply.num_examples for reply in valid], device=device),
        params=state.params.clone(),
        round=cohort.round,
        num_rounds=federation.scenario.rounds,
        previous_params=None if state.previous_params is None else state.previous_params.clone(),
        layers=layers_of(model),
        state=copy.deepcopy(state.rule),
        generator=generator(seed, "server", cohort.round),
        root_update=root_update,
        root=None if root is None else (root.images, root.labels),
        predict=predictor(model, state.buffers) if "predict" in needs(federation) else None,
        image_shape=federation.data.shape,
    )


def needs(federation: Federation) -> tuple[str, ...]:
    """What the aggregator declares it needs beyond the updates."""
    return tuple(federation.scenario.server.aggregator.plugin.facts.get("needs", ()))


def _aggregate(
    federation: Federation, model: nn.Module, state: State, cohort: Cohort, valid: list[Reply]
) -> tuple[ServerView, Aggregate | None, tuple[str, ...]]:
    """The outcome of the rule, or None where nobody replied or its precondition does not hold."""
    view = server_view(federation, model, state, cohort, valid)
    if not valid:
        return view, None, ()
    rows = torch.stack([reply.update for reply in valid if reply.update is not None])
    try:
        outcome = pipeline(federation.scenario)(rows.to(federation.device), view)
    except PreconditionError:
        return view, None, ("precondition_broken",)
    except Exception as error:  # whatever a user's rule raises is told with its round
        text = f"{type(error).__name__}: {error}"
        raise RunError(f"round {cohort.round}: server: the rule raised {text}") from error
    update = outcome.update
    if update.shape != state.params.shape:
        text = f"must return {tuple(state.params.shape)}; got {tuple(update.shape)}"
        raise RunError(f"round {cohort.round}: server: the rule {text}")
    if not torch.isfinite(update).all():
        text = "made an update that is not finite of updates that are"
        raise RunError(f"round {cohort.round}: server: the rule {text}")
    return view, outcome._replace(update=update.to(state.params)), ()


def _step(
    federation: Federation,
    state: State,
    cohort: Cohort,
    view: ServerView,
    outcome: Aggregate | None,
    valid: list[Reply],
) -> State:
    """The state after the server stepped along the aggregate; unchanged without one."""
    moved = replace(state, round=cohort.round, previous_params=state.params)
    if outcome is None:
        return moved
    server = federation.scenario.server
    step, memory = server.optimizer.build()(outcome.update, state.optimizer)
    lr = server.lr_at(cohort.round)
    return replace(
        moved,
        params=state.params + lr * step,
        buffers=_next_buffers(federation, state, outcome, valid, lr),
        rule=dict(outcome.state),
        optimizer=dict(memory),
    )


def _next_buffers(
    federation: Federation, state: State, outcome: Aggregate, valid: list[Reply], lr: float
) -> Tensor:
    """Buffers move towards the clients' average, weighted by the rule's own weights if it has any.

    Plain SGD moves them by its rate, as it moves the parameters; with another optimizer, whose
    rate means something else, they move all the way.
    """
    server = federation.scenario.server
    if server.buffers == "keep" or not len(state.buffers):
        return state.buffers
    rows = torch.stack([reply.buffers for reply in valid if reply.buffers is not None])
    weights = outcome.weights
    if weights is None:
        weights = rows.new_full((len(rows),), 1 / len(rows))
    total = weights.sum()
    if total <= 0:
        return state.buffers
    average = (weights / total).to(rows) @ rows.to(federation.device)
    share = lr if server.optimizer.name == "sgd" else 1.0
    return state.buffers + share * (average - state.buffers)


def _client_records(
    cohort: Cohort, replies: Sequence[Reply], outcome: Aggregate | None
) -> list[dict[str, Any]]:
    weights: dict[int, float] = {}
    if outcome is not None and outcome.weights is not None:
        valid = [reply.client for reply in replies if reply.failed is None]
        weights = dict(zip(valid, outcome.weights.tolist(), strict=True))
    return [
        {
            "round": cohort.round,
            "client": reply.client,
            "malicious": reply.client in cohort.malicious,
            "acting": reply.client in cohort.acting,
            "num_examples": reply.num_examples,
            "norm": None if reply.failed else _norm(reply.update),
            "weight": weights.get(reply.client),
            "loss": None if reply.failed else reply.loss,
            "failed": reply.failed,
        }
        for reply in replies
    ]


def _norm(update: Tensor | None) -> float | None:
    return None if update is None else float(torch.linalg.vector_norm(update.double()))
