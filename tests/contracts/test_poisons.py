"""Every built-in poison, a row for each of its ways, against the laws that all poisons obey."""

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import triggers  # noqa: F401 (its registry is what `trigger` is looked up in)
from fedsim.poisons import poisons
from fedsim.types import Network, PoisonView, Split

K = 5
PATCH = {"name": "patch", "size": 2}
DBA = {"name": "dba", "size": 1, "gap": 1, "shift": 0}


class Row(NamedTuple):
    """Parameters and claims: when it runs, whether its probe is stamped, what it adds.

    `wrong` are changes of the parameters that a call must refuse, even on an empty set; `adds` is
    how many images follow the client's own, or says so from its labels.
    """

    name: str
    parameters: dict[str, Any]
    when: str
    wrong: list[dict[str, Any]]
    stamped: bool = False
    measured: bool = True
    chooses: bool = False
    adds: int | Callable[[torch.Tensor], int] = 0
    min_attackers: int = 1


PAIR = [
    {"source": K},
    {"target": K},
    {"source": None},
    {"target": None},
    {"source": 1, "target": 1},
]
COLLISION = [{"base": K}, {"source": K}, {"base": 3}]
ROWS = [
    Row("label_flip", {"mode": "pair", "source": 1, "target": 0, "fraction": 0.6}, "once", PAIR),
    Row("label_flip", {"mode": "replicate", "source": 0, "target": 1}, "once", PAIR),
    Row(
        "label_flip",
        {"mode": "all_to_one", "target": 2},
        "once",
        [{"target": None}, {"target": K}, {"source": 1}],
    ),
    Row("label_flip", {"mode": "reversed"}, "once", [{"source": 1}, {"target": 1}]),
    Row("label_flip", {"mode": "random"}, "once", [{"source": 1}, {"target": 1}], measured=False),
    Row(
        "backdoor",
        {"trigger": PATCH, "target": 0, "fraction": 0.5},
        "once",
        [{"target": None}, {"target": K}, {"per_batch": 1}, {"fraction": None}, {"source": 0}],
        stamped=True,
    ),
    Row(
        "backdoor",
        {"trigger": PATCH, "target": 0, "source": 3, "per_batch": 2},
        "batch",
        [{"target": None}, {"source": K}, {"fraction": 1.0}, {"per_batch": None}, {"target": 3}],
        stamped=True,
    ),
    Row(
        "backdoor",
        {"trigger": PATCH, "mode": "all_to_all", "per_batch": 3},
        "batch",
        [{"target": 0}, {"source": 0}, {"per_batch": None}],
        stamped=True,
    ),
    Row(
        "distributed_backdoor",
        {"trigger": DBA, "target": 4, "per_batch": 2},
        "batch",
        [{"target": K}, {"trigger": PATCH}],
        stamped=True,
        min_attackers=4,
    ),
    Row(
        "target_clients",
        {"source": 3, "target": 1, "count": 2},
        "once",
        [{"source": K}, {"target": K}, {"source": 1}],
        chooses=True,
        adds=3,
    ),
    Row("semantic", {"ids": [2, 7, 5], "target": 1}, "once", [{"target": K}], chooses=True, adds=3),
    Row(
        "semantic",
        {"ids": "green_cars", "target": 1, "per_batch": 4},
        "batch",
        [{"target": K}],
        chooses=True,
    ),
    Row(
        "edge_case",
        {"source": 3, "target": 1, "count": 6},
        "once",
        [{"source": K}, {"target": K}, {"source": 1}],
        chooses=True,
        adds=3,
    ),
    Row("instance_key", {"target": 1}, "once", [{"target": K}], chooses=True, adds=5),
    Row(
        "instance_key",
        {"target": 1, "key": 4, "count": 2, "noise": 0.5},
        "once",
        [{"target": K}],
        chooses=True,
        adds=2,
    ),
    Row(
        "feature_collision",
        {"base": 1, "source": 3, "poisons": 2, "steps": 5},
        "round",
        COLLISION,
        chooses=True,
        adds=lambda labels: min(2, int((labels == 1).sum())),
    ),
    Row(
        "watermarked_collision",
        {"base": 1, "source": 3, "steps": 5},
        "round",
        COLLISION,
        chooses=True,
        adds=lambda labels: int((labels == 1).sum()),
    ),
    Row(
        "stingray",
        {"base": 1, "source": 3, "poisons": 3, "similarity": 1.0, "harm": 1.0, "steps": 5},
        "round",
        COLLISION,
        chooses=True,
        adds=lambda labels: min(3, int((labels == 1).sum())),
    ),
    Row(
        "convex_polytope",
        {"base": 1, "source": 3, "poisons": 2, "steps": 5},
        "round",
        COLLISION,
        chooses=True,
    ),
    Row(
        "generated",
        {"poisons": 4, "steps": 2, "pretraining": 2, "hidden": 3, "bound": 0.5},
        "round",
        [],
        measured=False,
        adds=lambda labels: min(4, len(labels)),
    ),
]

rows = pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.name}-{row.parameters}")
quick = settings(max_examples=15)


def data(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(count, 1, 6, 6, generator=draw), torch.randint(K, (count,), generator=draw)


def view(row: Row, seed: int = 3, attacker: int = 1) -> PoisonView:
    chosen = Split(data(3, seed=9)[0], torch.full((3,), 3)) if row.chooses else None
    network = linear_model() if row.when == "round" else None
    return PoisonView(K, torch.Generator().manual_seed(seed), attacker, chosen, network)


def linear_model() -> Network:
    """Softmax regression, its pixels as features."""

    def features(params, images):
        return images.flatten(1)

    def predict(params, images):
        return images.flatten(1) @ params.view(36, K)

    return Network(
        torch.randn(36 * K, generator=torch.Generator().manual_seed(5)), predict, features
    )


def test_every_built_in_poison_has_a_row():
    built_in = {
        name for name in poisons.names() if poisons.get(name).function.__module__[:7] == "fedsim."
    }
    assert built_in == {row.name for row in ROWS}


@rows
def test_facts(row):
    choice = poisons.choose(row.name, **row.parameters)
    when = choice.plugin.facts["when"]
    assert (when(choice.parameters) if callable(when) else when) == row.when
    assert choice.plugin.facts["min_attackers"] == row.min_attackers
    assert (choice.plugin.facts["select"] is not None) == row.chooses


@rows
@quick
@given(count=st.integers(0, 9), seed=st.integers(0, 1000), attacker=st.integers(0, 7))
def test_laws(row, count, seed, attacker):
    images, labels = data(count, seed)
    before = images.clone(), labels.clone()
    poison = poisons.build(row.name, **row.parameters)
    poisoned, relabelled = poison(images, labels, view(row, attacker=attacker))
    added = row.adds(labels) if callable(row.adds) else row.adds

    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert len(poisoned) == len(relabelled) == count + added
    assert poisoned.shape[1:] == images.shape[1:]
    assert (poisoned.dtype, relabelled.dtype) == (images.dtype, torch.int64)
    assert ((poisoned >= 0) & (poisoned <= 1)).all()
    assert ((relabelled >= 0) & (relabelled < K)).all()

    again = poison(images, labels, view(row, attacker=attacker))
    assert torch.equal(again[0], poisoned)
    assert torch.equal(again[1], relabelled)


@rows
@quick
@given(count=st.integers(0, 9), seed=st.integers(0, 1000))
def test_probe_laws(row, count, seed):
    images, labels = data(count, seed)
    before = images.clone(), labels.clone()
    choice = poisons.choose(row.name, **row.parameters)
    make_probe = choice.plugin.facts["probe"]
    probe = make_probe and make_probe(images, labels, view(row), **choice.arguments)

    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])
    assert (probe is not None) == row.measured
    if probe is None:
        return
    assert len(probe.images) == len(probe.expected)
    assert probe.images.shape[1:] == images.shape[1:]
    assert ((probe.images >= 0) & (probe.images <= 1)).all()
    assert ((probe.expected >= 0) & (probe.expected < K)).all()
    assert (probe.truth is not None) == row.stamped
    if probe.truth is not None:
        assert len(probe.truth) == len(probe.expected)
        assert (probe.truth != probe.expected).all()


@rows
def test_wrong_parameters_are_refused_by_the_poison_and_its_probe(row):
    images, labels = data(0)
    for change in row.wrong:
        choice = poisons.choose(row.name, **{**row.parameters, **change})
        named = "|".join(change)
        with pytest.raises(ValueError, match=f"^{row.name}: .*({named})"):
            choice.build()(images, labels, view(row))
        with pytest.raises(ValueError, match=f"^{row.name}: .*({named})"):
            choice.plugin.facts["probe"](images, labels, view(row), **choice.arguments)


@rows
def test_pickles_and_cites(row):
    poison = poisons.build(row.name, **row.parameters)
    images, labels = data(8)
    copy = pickle.loads(pickle.dumps(poison))
    for one, other in zip(
        copy(images, labels, view(row)), poison(images, labels, view(row)), strict=True
    ):
        assert torch.equal(one, other)
    assert "Paper:" in (poison.func.__doc__ or "")
