"""The one mind behind all malicious clients: what they send in place of their results."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from fedsim.errors import PreconditionError, RunError
from fedsim.registry import Choice
from fedsim.scenario import Scenario
from fedsim.seeding import generator, seeded
from fedsim.simulation.client import Reply, Visit
from fedsim.simulation.federation import Federation
from fedsim.simulation.network import learn_pattern, learned_trigger, network_of
from fedsim.simulation.pipeline import pipeline
from fedsim.simulation.roles import Cohort
from fedsim.simulation.rounds import State, server_view
from fedsim.tensors import load_buffers, load_params
from fedsim.types import AdversaryView

KNOWLEDGE = ("own", "benign", "defense")


def prepare_attack(federation: Federation, model: nn.Module, state: State, cohort: Cohort) -> State:
    """The state with the pattern that the adversary learned for this round, if it learns one."""
    adversary = federation.scenario.adversary
    poison = adversary and adversary.poison
    if not poison or learned_trigger(poison) is None or not cohort.acting:
        return state
    indices = torch.cat([federation.clients[client] for client in sorted(cohort.acting)])
    data = federation.data.train.take(indices)
    seed = federation.scenario.seed
    try:
        with seeded(seed, "trigger-layers", cohort.round):
            pattern = learn_pattern(
                poison,
                network_of(model, state.params, state.buffers),
                (data.images, data.labels),
                num_classes=federation.data.num_classes,
                pattern=state.pattern,
                round=cohort.round,
                generator=generator(seed, "trigger", cohort.round),
            )
    except Exception as error:  # whatever a user's trigger raises is told with its round
        text = f"{type(error).__name__}: {error}"
        raise RunError(f"round {cohort.round}: adversary.poison.trigger raised {text}") from error
    return replace(state, pattern=pattern)


def make_orders(federation: Federation, state: State, cohort: Cohort) -> list[Visit]:
    """What each client of the cohort is told; acting ones also what the adversary knows."""
    previous = None
    if state.previous_params is not None and _needs_previous(federation.scenario):
        previous = state.params - state.previous_params
    orders = [Visit(client, cohort.round, client in cohort.acting) for client in cohort.clients]
    return [
        replace(order, pattern=state.pattern, previous_update=previous) if order.acting else order
        for order in orders
    ]


def _needs_previous(scenario: Scenario) -> bool:
    training = scenario.adversary and scenario.adversary.training
    chosen = training.constraints if training else []
    return any(
        choice.plugin.form == "user" or "previous_update" in choice.plugin.facts.get("needs", ())
        for choice in chosen
    )


def craft(
    federation: Federation,
    model: nn.Module,
    state: State,
    cohort: Cohort,
    replies: Sequence[Reply],
) -> tuple[list[Reply], tuple[dict[str, Any], ...]]:
    """The replies with those of the acting clients replaced, and what the attacks remember.

    Sees no more than `adversary.knowledge` grants. Failed replies are left alone.
    """
    adversary = federation.scenario.adversary
    usable = sorted((r for r in replies if r.failed is None), key=lambda reply: reply.client)
    own = [reply for reply in usable if reply.client in cohort.acting]
    if adversary is None or not adversary.attack or not own:
        return list(replies), state.attack
    view = _view(federation, model, state, cohort, usable)
    buffers = torch.stack([reply.buffers for reply in own if reply.buffers is not None])
    memories: list[dict[str, Any]] = []
    for index, attack in enumerate(adversary.attack):
        remembered = copy.deepcopy(state.attack[index]) if state.attack else {}
        try:
            buffers = _attack_buffers(attack, view, state, buffers)
            rows, memory = _apply(attack, replace(view, state=remembered))
        except PreconditionError:  # of the attack, or of the server's rule in it
            rows, memory = view.own, remembered
        except Exception as error:  # whatever a user's attack raises is told with its round
            text = f"{type(error).__name__}: {error}"
            raise RunError(f"round {cohort.round}: adversary.attack raised {text}") from error
        view = replace(view, own=rows)
        memories.append(memory)
    sent = {
        reply.client: replace(reply, update=view.own[row], buffers=buffers[row])
        for row, reply in enumerate(own)
    }
    return [sent.get(reply.client, reply) for reply in replies], tuple(memories)


def _view(
    federation: Federation, model: nn.Module, state: State, cohort: Cohort, usable: list[Reply]
) -> AdversaryView:
    scenario = federation.scenario
    knowledge = KNOWLEDGE.index(scenario.adversary.knowledge if scenario.adversary else "own")
    own = [reply for reply in usable if reply.client in cohort.acting]
    benign = [reply for reply in usable if reply.client not in cohort.acting]
    previous = state.previous_params
    network, data = _own_model(federation, model, state, cohort)
    return AdversaryView(
        own=_rows(own, state),
        num_clients=len(cohort.clients),
        params=state.params.clone(),
        benign=_rows(benign, state) if knowledge >= 1 else None,
        aggregate=_copy_of_rule(federation, model, state, cohort, usable)
        if knowledge == 2
        else None,
        previous_update=None if previous is None else state.params - previous,
        round=cohort.round,
        generator=generator(scenario.seed, "attack", cohort.round),
        shares=_shares(scenario, own, usable).to(state.params),
        server_lr=scenario.server.lr_at(cohort.round),
        benign_ids=tuple(reply.client for reply in benign) if knowledge >= 1 else None,
        model=network,
        data=data,
    )


def _own_model(
    federation: Federation, model: nn.Module, state: State, cohort: Cohort
) -> tuple[nn.Module | None, tuple[Tensor, Tensor] | None]:
    """Copies of the global network and of the acting clients' clean data, if an attack asks."""
    adversary = federation.scenario.adversary
    attacks = adversary.attack if adversary and adversary.attack else []
    if not any(attack.plugin.facts.get("model") for attack in attacks):
        return None, None
    network = copy.deepcopy(model)
    load_params(network, state.params)
    load_buffers(network, state.buffers)
    indices = torch.cat([federation.clients[client] for client in sorted(cohort.acting)])
    data = federation.data.train.take(indices)
    return network.eval().requires_grad_(False), (data.images, data.labels)


def _rows(replies: list[Reply], state: State) -> Tensor:
    rows = [reply.update for reply in replies if reply.update is not None]
    return torch.stack(rows) if rows else state.params.new_empty(0, len(state.params))


def _shares(scenario: Scenario, own: list[Reply], usable: list[Reply]) -> Tensor:
    """The weight that the scenario's mean would give each own row (uniform for any other rule)."""
    if scenario.server.aggregator.parameters.get("weighting") == "examples":
        total = sum(reply.num_examples for reply in usable)
        return torch.tensor([reply.num_examples / total for reply in own])
    return torch.full((len(own),), 1 / len(usable))


def _copy_of_rule(
    federation: Federation, model: nn.Module, state: State, cohort: Cohort, usable: list[Reply]
) -> Callable[[Tensor], Tensor]:
    """The server's rule for the adversary: neither moves nor foresees the server's draws.

    It takes the benign rows first, then the adversary's own, or the benign rows alone, and knows
    whose they are; rows of another number are those of clients that it has never seen. It holds
    nothing of the server's own, whoever looks into it: no generator, data, state or model.
    """
    rule = pipeline(federation.scenario)
    seed, total = federation.scenario.seed, federation.scenario.clients.total
    apart = replace(state, buffers=state.buffers.clone())
    view = server_view(federation, copy.deepcopy(model), apart, cohort, usable)
    view = replace(
        view,
        generator=generator(seed, "attack-copy", cohort.round),
        root=copy.deepcopy(view.root),
    )
    benign = [k for k, reply in enumerate(usable) if reply.client not in cohort.acting]
    own = [k for k, reply in enumerate(usable) if reply.client in cohort.acting]

    def aggregate(updates: Tensor) -> Tensor:
        draws = generator(seed, "attack-copy", view.round)
        given = replace(
            view, generator=draws, params=view.params.clone(), state=copy.deepcopy(view.state)
        )
        for rows in ([*benign, *own], benign):
            if len(updates) == len(rows):
                order = torch.tensor(rows).argsort()
                ranks = sorted(rows)
                seen = replace(
                    given,
                    client_ids=tuple(view.client_ids[k] for k in ranks),
                    num_examples=view.num_examples[ranks],
                )
                return rule(updates[order.to(updates.device)], seen).update
        strangers = range(total, 2**62)
        seen = replace(
            given,
            client_ids=tuple(strangers[: len(updates)]),
            num_examples=view.num_examples.new_ones(len(updates)),
        )
        return rule(updates.clone(), seen).update

    return aggregate


def _apply(attack: Choice, view: AdversaryView) -> tuple[Tensor, dict[str, Any]]:
    outcome = attack.build()(view)
    rows, memory = outcome if isinstance(outcome, tuple) else (outcome, {})
    if rows.shape != view.own.shape:
        raise ValueError(
            f"{attack.name}: must return rows of shape {tuple(view.own.shape)}; "
            f"got {tuple(rows.shape)}"
        )
    return rows, dict(memory)


def _attack_buffers(attack: Choice, view: AdversaryView, state: State, buffers: Tensor) -> Tensor:
    """The same attack on the change of the buffers, where its parameter `buffers` asks for it."""
    if not attack.parameters.get("buffers") or not buffers.shape[1]:
        return buffers
    before = state.buffers
    seen = replace(view, own=buffers - before, params=before, benign=None, benign_ids=None)
    rows, _ = _apply(attack, seen)
    return before + rows
