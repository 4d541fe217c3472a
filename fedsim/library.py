"""The rules, attacks, poisons and partitions of fedsim as plain functions on tensors."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, get_args

from jaxtyping import Float, Int
from pydantic.fields import FieldInfo
from torch import Tensor

from fedsim.aggregators import aggregators
from fedsim.arguments import (
    at_least,
    check_images,
    check_labels,
    check_labels_of,
    count_tensor,
    id_tuple,
    image_shape,
    layers_within,
    stack_shape,
    state_or_empty,
    vector_like,
    vector_or_zeros,
)
from fedsim.attacks import attacks
from fedsim.partitions import partitions
from fedsim.poisons import poisons
from fedsim.preaggregators import lift
from fedsim.preaggregators import preaggregators as _preaggregators
from fedsim.registry import Choice, OneOf, Registry
from fedsim.seeding import generator
from fedsim.simulation.pipeline import compose
from fedsim.triggers import triggers
from fedsim.types import AdversaryView, Aggregate, PoisonView, ServerView, State

Named = str | Mapping[str, Any] | Choice | Callable[..., Any]
"""A plug-in: its name, `{name: …, parameters}`, a choice, or a plain function."""


def aggregate(  # noqa: PLR0913 - all that a ServerView can hold
    name_or_function: Named,
    updates: Float[Tensor, "n d"],
    *,
    state: State | Tensor | None = None,
    params: Float[Tensor, " d"] | None = None,
    previous_params: Float[Tensor, " d"] | None = None,
    root_update: Float[Tensor, " d"] | None = None,
    root: tuple[Tensor, Tensor] | None = None,
    layers: Mapping[str, slice] | None = None,
    predict: Callable[[Tensor, Tensor], Tensor] | None = None,
    num_examples: Tensor | Sequence[float] | None = None,
    client_ids: Iterable[int] | None = None,
    round: int = 1,
    num_rounds: int = 1,
    seed: int = 0,
    preaggregators: Sequence[Named] = (),
    **parameters: Any,
) -> Aggregate:
    """The outcome of one round of a rule, in the dtype and on the device of `updates`.

    A rule or preaggregator with memory takes `state` from the Aggregate of the round before; for
    centered_clipping and foolsgold also the previous aggregate (d,) and the history (n, d).
    Clients are 0 … n−1 and `params` zeros if not given.

    Raises: ValueError that names what is wrong or what the rule needs.

    >>> import torch
    >>> aggregate("mean", torch.tensor([[0.0], [4.0]])).update
    tensor([2.])
    """
    choice = choose(aggregators, name_or_function, parameters)
    n, d = stack_shape(updates, "updates")
    if num_examples is None and choice.parameters.get("weighting") == "examples":
        raise ValueError(f"{choice.name}: weighting 'examples' needs num_examples")
    view = ServerView(
        client_ids=id_tuple(client_ids, n),
        num_examples=count_tensor(num_examples, updates),
        params=vector_or_zeros(params, updates),
        round=at_least(1, round, "round"),
        num_rounds=at_least(1, num_rounds, "num_rounds"),
        previous_params=vector_like(previous_params, "previous_params", updates),
        layers=layers_within(layers, d),
        state=state_or_empty(state, choice.plugin.facts.get("plain_state")),
        generator=generator(seed, "server", round),
        root_update=vector_like(root_update, "root_update", updates),
        root=root,
        predict=predict,
        image_shape=image_shape(root, predict, vector_or_zeros(params, updates)),
    )
    before = [choose(_preaggregators, step, {}) for step in preaggregators]
    return _outcome(before, choice, updates, view)


def preaggregate(
    name: Named,
    updates: Float[Tensor, "n d"],
    *,
    client_ids: Iterable[int] | None = None,
    seed: int = 0,
    state: State | None = None,
    **parameters: Any,
) -> Float[Tensor, "n_out d"]:
    """The rows that a preaggregator makes of `updates`.

    Only a function that has a parameter `view` sees the ids, the seed's generator and the state.

    >>> import torch
    >>> preaggregate("clip", torch.tensor([[3.0, 4.0]]), norm=1.0)
    tensor([[0.6000, 0.8000]])
    """
    n, d = stack_shape(updates, "updates")
    view = ServerView(
        client_ids=id_tuple(client_ids, n),
        num_examples=count_tensor(None, updates),
        params=updates.new_zeros(d),
        state=state_or_empty(state),
        generator=generator(seed, "server", 1),
    )
    return lift(choose(_preaggregators, name, parameters))(updates, view).updates


def craft(  # noqa: PLR0913 - all that an AdversaryView can hold
    name: Named,
    own: Float[Tensor, "m d"],
    *,
    benign: Float[Tensor, "h d"] | None = None,
    num_clients: int | None = None,
    aggregate: Named | None = None,
    params: Float[Tensor, " d"] | None = None,
    previous_update: Float[Tensor, " d"] | None = None,
    round: int = 1,
    seed: int = 0,
    state: State | None = None,
    **parameters: Any,
) -> Float[Tensor, "m d"]:
    """The rows that malicious clients send who would send `own` if they only trained.

    The adversary knows what it is given: with `benign` the others' rows, with `aggregate` (a
    function of rows, or a rule by name) the defence too. `num_clients` is the size of the cohort.

    Raises: ValueError that names what is wrong or what the attack needs.

    >>> import torch
    >>> craft("boost", torch.tensor([[1.0, -2.0]]), factor=2.0)
    tensor([[ 2., -4.]])
    """
    choice = choose(attacks, name, parameters)
    m, d = stack_shape(own, "own")
    present = m if benign is None else m + stack_shape(benign, "benign", d, least=0)[0]
    total = at_least(present, present if num_clients is None else num_clients, "num_clients")
    _check_knowledge(choice, benign, aggregate)
    view = AdversaryView(
        own=own,
        num_clients=total,
        params=vector_or_zeros(params, own),
        benign=None if benign is None else benign.to(own),
        aggregate=None if aggregate is None else _copy_of_rule(aggregate),
        previous_update=vector_like(previous_update, "previous_update", own),
        round=at_least(1, round, "round"),
        state=state_or_empty(state),
        generator=generator(seed, "attack", round),
        shares=own.new_full((m,), 1 / total),
    )
    sent = choice.build()(view)
    rows: Tensor = sent[0] if isinstance(sent, tuple) else sent
    if rows.shape != own.shape:
        raise ValueError(f"{choice.name}: must return {(m, d)}; got {tuple(rows.shape)}")
    return rows


def stamp(
    trigger: Named, images: Float[Tensor, "b c h w"], **parameters: Any
) -> Float[Tensor, "b c h w"]:
    """The images (pixels in [0, 1]) with the trigger on them.

    >>> import torch
    >>> stamp("patch", torch.zeros(1, 1, 8, 8), size=2).sum()
    tensor(4.)
    """
    check_images(images)
    stamped: Tensor = choose(triggers, trigger, parameters).build()(images)
    return stamped


def poison(
    name: Named,
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    *,
    num_classes: int,
    seed: int = 0,
    **parameters: Any,
) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, " b"]]:
    """The images (pixels in [0, 1]) and labels that a malicious client trains on instead.

    A poison that works batch by batch takes them for one batch. A parameter that is a plug-in is
    given by name, as `{name: …, parameters}` or as a function.

    >>> import torch
    >>> poison("label_flip", torch.zeros(2, 1, 8, 8), torch.tensor([0, 1]), num_classes=2,
    ...        mode="reversed")[1]
    tensor([1, 0])
    """
    check_images(images)
    check_labels_of(images, labels, at_least(1, num_classes, "num_classes"))
    apply = choose(poisons, name, parameters).build()
    view = PoisonView(num_classes, generator(seed, "poison"))
    poisoned: tuple[Tensor, Tensor] = apply(images, labels.long(), view)
    return poisoned


def partition(
    name: Named, labels: Int[Tensor, " N"], *, num_clients: int, seed: int = 0, **parameters: Any
) -> list[Int[Tensor, " k"]]:
    """The indices into `labels` that each client holds.

    >>> import torch
    >>> [len(part) for part in partition("iid", torch.zeros(5).long(), num_clients=2)]
    [3, 2]
    """
    check_labels(labels)
    split = choose(partitions, name, parameters).build()
    parts: list[Tensor] = split(
        labels, at_least(1, num_clients, "num_clients"), generator(seed, "partition")
    )
    return parts


def choose(registry: Registry, what: Named, parameters: Mapping[str, Any]) -> Choice:
    """The choice that `what` and `parameters` name together; nested plug-ins may be bare names."""
    if isinstance(what, Choice) and not parameters:
        return what
    function, given = unpacked(what, parameters)
    fields = registry.resolve(function).parameters.model_fields
    for key, value in given.items():
        if isinstance(value, str) and key in fields and _is_plugin(fields[key]):
            given[key] = {"name": value}
    return registry.choose(function, **given)


def unpacked(
    what: Named, parameters: Mapping[str, Any]
) -> tuple[str | Callable[..., Any], dict[str, Any]]:
    """A name or plain function, and all its parameters; those given later win."""
    if isinstance(what, Mapping):
        if not isinstance(what.get("name"), str):
            raise ValueError(f"a plug-in must be a name or a mapping with one; got {dict(what)}")
        given = {**what, **parameters}
        return given.pop("name"), given
    if isinstance(what, Choice):
        return what.plugin.function, {**what.parameters, **parameters}
    if isinstance(what, partial):
        return unpacked(what.func, {**what.keywords, **parameters})
    return what, dict(parameters)


def _is_plugin(field: FieldInfo) -> bool:
    return any(isinstance(mark, OneOf) for mark in _marks(field.annotation, *field.metadata))


def _marks(*annotations: Any) -> Iterator[Any]:
    for annotation in annotations:
        yield annotation
        yield from _marks(*get_args(annotation))


def _outcome(
    before: Sequence[Choice], choice: Choice, updates: Tensor, view: ServerView
) -> Aggregate:
    outcome = compose(before, choice)(updates, view)
    if (got := tuple(outcome.update.shape)) != (d := updates.shape[1],):
        raise ValueError(f"{choice.name}: the update must be of shape {(d,)}; got {got}")
    return outcome


def _copy_of_rule(rule: Named) -> Callable[[Tensor], Tensor]:
    if isinstance(rule, str | Mapping | Choice | partial):
        return lambda rows: aggregate(rule, rows).update
    return rule


def _check_knowledge(choice: Choice, benign: object, rule: object) -> None:
    if choice.plugin.facts.get("model"):
        text = "needs the global network and its clients' data, which only a run has"
        raise ValueError(f"{choice.name} {text}")
    knowledge = choice.plugin.facts.get("knowledge", "own")
    needed = {"benign": {"benign": benign}, "defense": {"benign": benign, "aggregate": rule}}
    missing = [name for name, value in needed.get(knowledge, {}).items() if value is None]
    if missing:
        raise ValueError(f"{choice.name} needs knowledge '{knowledge}'; not given: {missing}")
