"""What a scenario's keys must be to one another; every problem is told at the key to change."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from fedsim.registry import Choice
from fedsim.scenario import after, rules
from fedsim.strict import Strict

if TYPE_CHECKING:
    from fedsim.scenario.adversary import Adversary
    from fedsim.scenario.schema import Scenario

Problem = tuple[tuple[str | int, ...], str]

_KNOWLEDGE = ("own", "benign", "defense")


def check(scenario: "Scenario") -> None:
    """Raise a ValidationError with all problems of the scenario, if there are any."""
    found = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{error}", {"error": text}),
            loc=where,
            input=None,
        )
        for where, text in _problems(scenario)
    ]
    if found:
        raise ValidationError.from_exception_data("Scenario", found)


def _problems(scenario: "Scenario") -> Iterator[Problem]:
    yield from _plain(scenario, ())
    yield from _training(scenario)
    yield from _cohort(scenario)
    yield from _trainer(scenario)
    yield from _faults(scenario)
    yield from rules.problems(scenario)
    yield from after.problems(scenario)
    if scenario.adversary is None:
        if scenario.clean_twin:
            yield (
                ("clean_twin",),
                "needs an adversary, whose attack the twin leaves out. Remove the key.",
            )
        return
    yield from _attackers(scenario, scenario.adversary)
    yield from _schedule(scenario, scenario.adversary)
    yield from _means(scenario, scenario.adversary)


def _trainer(scenario: "Scenario") -> Iterator[Problem]:
    """Workers train one client at a time."""
    engine = scenario.engine
    if engine.trainer != "vectorised":
        return
    if engine.name != "inprocess":
        yield (
            ("engine", "trainer"),
            f"vectorised trains in one process; got engine {engine.name!r}. "
            "Use inprocess, or trainer sequential.",
        )
    elif engine.workers not in (1, "auto"):
        yield (
            ("engine", "workers"),
            f"must be 1 with trainer vectorised; got {engine.workers}.",
        )


def _plain(value: Any, where: tuple[str | int, ...]) -> Iterator[Problem]:
    """A scenario can be written down; a parameter without a type could be anything."""
    match value:
        case Choice():
            yield from _plain(value.parameters, where)
        case Strict() | Mapping():
            for key, item in dict(value).items():
                yield from _plain(item, (*where, key))
        case list() | tuple():
            for k, item in enumerate(value):
                yield from _plain(item, (*where, k))
        case None | bool() | int() | float() | str():
            return
        case _:
            yield where, f"must be plain values; got {type(value).__name__}."


def _training(scenario: "Scenario") -> Iterator[Problem]:
    honest = scenario.clients.training
    if honest.epochs is not None and honest.steps is not None:
        yield ("clients", "training", "steps"), "excludes epochs. Keep one of the two."
    if honest.epochs is None and honest.steps is None:
        yield ("clients", "training", "epochs"), "must be a number where steps is not."
    own = scenario.adversary.training if scenario.adversary else None
    if own is None:
        return
    if own.epochs is not None and own.steps is not None:
        yield ("adversary", "training", "steps"), "excludes epochs. Keep one of the two."
    milestones = own.lr_milestones
    if sorted(set(milestones)) != milestones:
        yield (
            ("adversary", "training", "lr_milestones"),
            f"must be ascending shares of the local epochs; got {milestones}.",
        )


def _cohort(scenario: "Scenario") -> Iterator[Problem]:
    total, per_round = scenario.clients.total, scenario.clients.per_round
    if per_round > total:
        yield (
            ("clients", "per_round"),
            f"must be at most clients.total, {total}; got {per_round}.",
        )
    lr, replies = scenario.server.lr, scenario.server.min_replies
    if replies > per_round:
        yield (
            ("server", "min_replies"),
            f"must be at most clients.per_round, {per_round}; got {replies}.",
        )
    if isinstance(lr, dict) and 1 not in lr:
        yield ("server", "lr"), f"must begin with round 1; got rounds {sorted(lr)}."
    if isinstance(lr, dict) and list(lr) != sorted(lr):
        yield ("server", "lr"), f"must name its rounds in ascending order; got {list(lr)}."


def _faults(scenario: "Scenario") -> Iterator[Problem]:
    total, end = scenario.clients.total, scenario.rounds
    for k, fault in enumerate(scenario.faults):
        for j, client in enumerate(fault.clients or []):
            if client >= total:
                yield (
                    ("faults", k, "clients", j),
                    f"must be below clients.total, {total}, as ids start at 0; got {client}.",
                )
        for j, round in enumerate(fault.rounds or []):
            if round > end:
                yield ("faults", k, "rounds", j), f"must be at most rounds, {end}; got {round}."
        for key, name in (("count", "forged_count"), ("seconds", "slow")):
            is_set = getattr(fault, key) != type(fault).model_fields[key].default
            if is_set and fault.name != name:
                yield ("faults", k, key), f"belongs to '{name}', not to '{fault.name}'."


def _attackers(scenario: "Scenario", adversary: "Adversary") -> Iterator[Problem]:
    total, clients, fraction = scenario.clients.total, adversary.clients, adversary.fraction
    if clients is None and fraction is None:
        yield ("adversary",), "needs the number of its clients. Give clients or fraction."
    if clients is not None and fraction is not None:
        yield ("adversary", "fraction"), "excludes clients. Keep one of the two."
    if isinstance(clients, list):
        yield from _ids(clients, total)
    elif clients is not None and clients > total:
        yield ("adversary", "clients"), f"must be at most clients.total, {total}; got {clients}."
    if fraction and adversary.count(total) == 0:
        yield (
            ("adversary", "fraction"),
            f"is less than half a client: {fraction} of {total}. Use 0 for no attackers.",
        )


def _ids(clients: list[int], total: int) -> Iterator[Problem]:
    seen: set[int] = set()
    for k, client in enumerate(clients):
        if client >= total:
            yield (
                ("adversary", "clients", k),
                f"must be below clients.total, {total}, as ids start at 0; got {client}.",
            )
        if client in seen:
            yield ("adversary", "clients", k), f"names client {client} a second time."
        seen.add(client)


def _schedule(scenario: "Scenario", adversary: "Adversary") -> Iterator[Problem]:
    schedule, place = adversary.schedule, ("adversary", "schedule")
    if schedule.rounds is not None:
        for key in ("first", "last", "every"):
            if key in schedule.model_fields_set:
                yield (*place, key), "excludes rounds. Keep one of the two."
        if sorted(set(schedule.rounds)) != schedule.rounds:
            yield (*place, "rounds"), f"must be ascending; got {schedule.rounds}."
    yield from _within(scenario, adversary)
    attackers = scenario.num_malicious
    acting = min(attackers, 1) if schedule.turns == "each" else attackers
    if schedule.forced and acting > scenario.clients.per_round:
        yield (
            (*place, "forced"),
            f"needs room for {acting} acting attackers in a cohort of "
            f"{scenario.clients.per_round}. Raise clients.per_round.",
        )
    if schedule.turns == "each":
        yield from _turns(adversary, attackers)
    if schedule.pool == "redrawn" and isinstance(adversary.clients, list):
        yield (*place, "pool"), "needs a number or fraction of attackers, not their ids."


def _within(scenario: "Scenario", adversary: "Adversary") -> Iterator[Problem]:
    """The schedule ends with the run."""
    schedule, place, end = adversary.schedule, ("adversary", "schedule"), scenario.rounds
    for k, round in enumerate(schedule.rounds or []):
        if round > end:
            yield (*place, "rounds", k), f"must be at most rounds, {end}; got {round}."
    for key, bound in (("first", schedule.first), ("last", schedule.last)):
        if bound is not None and bound > end:
            yield (*place, key), f"must be at most rounds, {end}; got {bound}."
    if schedule.last is not None and schedule.last < schedule.first:
        yield (
            (*place, "last"),
            f"must be at least first, {schedule.first}; got {schedule.last}.",
        )


def _turns(adversary: "Adversary", attackers: int) -> Iterator[Problem]:
    schedule, place = adversary.schedule, ("adversary", "schedule", "turns")
    if schedule.rounds is None:
        yield place, "'each' needs the rounds one by one. Give adversary.schedule.rounds."
    elif attackers and len(schedule.rounds) != attackers:
        yield (
            place,
            f"'each' needs a round for every attacker; got {len(schedule.rounds)} rounds "
            f"for {attackers} attackers.",
        )
    if schedule.pool == "redrawn":
        yield place, "'each' needs attackers that stay the same. Set pool: fixed."


def _means(scenario: "Scenario", adversary: "Adversary") -> Iterator[Problem]:
    """What the chosen attack and poison ask for."""
    granted = _KNOWLEDGE.index(adversary.knowledge)
    for k, attack in enumerate(adversary.attack):
        needed = attack.plugin.facts.get("knowledge", "own")
        if _KNOWLEDGE.index(needed) > granted:
            yield (
                ("adversary", "attack", k),
                f"'{attack.name}' needs knowledge '{needed}'; "
                f"the scenario grants '{adversary.knowledge}'.",
            )
    if adversary.poison is None:
        return
    fewest: int = adversary.poison.plugin.facts.get("min_attackers", 1)
    if 0 < scenario.num_malicious < fewest:
        yield (
            ("adversary", "poison"),
            f"'{adversary.poison.name}' needs at least {fewest} attackers; "
            f"got {scenario.num_malicious}.",
        )
