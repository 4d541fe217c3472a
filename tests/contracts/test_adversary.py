"""What the adversary may not do: know more than it is granted, reach the server, act in no client."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from fedsim.attacks import attacks
from fedsim.errors import ScenarioError
from fedsim.flower import run_rounds
from fedsim.registry import plugins
from fedsim.scenario import load
from fedsim.simulation import State, prepare
from fedsim.simulation.federation import Federation
from fedsim.tensors import state_sha256
from fedsim.types import DataSource

TREE = {
    "name": "bounded",
    "rounds": 2,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 8, "per_round": 6, "training": {"lr": 0.1, "momentum": 0.9}},
}
KNOWLEDGE = ("own", "benign", "defense")
REQUIRED = {
    **{"factor": 2.0, "std": 0.5, "norm": "l2", "radius": 1.0, "distance": "l2"},
    **{"mode": "pair", "source": 5, "target": 3, "base": 3, "count": 4, "fraction": 0.5},
    **{"ids": [0, 10, 20, 40], "per_batch": 8, "trigger": {"name": "patch", "size": 2}},
    **{"size": 2, "gap": 2},
}
OWN: dict[str, dict[str, Any]] = {
    "distributed_backdoor": {"trigger": {"name": "dba", "size": 2, "gap": 2}}
}


def choose(plugin: Any) -> dict[str, Any]:
    """The plug-in with what it cannot do without."""
    fields = plugin.parameters.model_fields.items()
    needed = {key: REQUIRED[key] for key, field in fields if field.is_required()}
    if plugin.name == "label_flip":
        needed |= {"source": 5, "target": 3}
    if plugin.name == "backdoor":
        needed |= {"target": 3, "fraction": 0.5}
    return {"name": plugin.name, **needed, **OWN.get(plugin.name, {})}


def built_in(kind: str) -> list[Any]:
    return [p for p in plugins(kind) if p.function.__module__.startswith("fedsim.")]


# Knowledge

TOO_LITTLE = [
    (plugin, needed, granted)
    for plugin in built_in("attacks")
    for needed in [plugin.facts.get("knowledge", "own")]
    for granted in KNOWLEDGE[: KNOWLEDGE.index(needed)]
]


def test_some_attacks_need_more_than_they_have():
    assert {plugin.name for plugin, *_ in TOO_LITTLE} == {
        *("adaptive", "fang_krum", "fang_trimmed_mean", "mimic")
    }


@pytest.mark.parametrize(
    ("plugin", "needed", "granted"), TOO_LITTLE, ids=[f"{p.name}-{g}" for p, _, g in TOO_LITTLE]
)
def test_an_attack_that_needs_more_than_it_is_granted_is_refused(tmp_path, plugin, needed, granted):
    path = tmp_path / "greedy.yaml"
    adversary = {"clients": 1, "knowledge": granted, "attack": choose(plugin)}
    path.write_text(yaml.safe_dump({**TREE, "adversary": adversary}, sort_keys=False))
    told = rf"greedy\.yaml:\d+:\d+: .*'{plugin.name}' needs knowledge '{needed}'"
    with pytest.raises(ScenarioError, match=told):
        load(path)
    adversary["knowledge"] = needed
    load({**TREE, "adversary": adversary})


# Reach

BURGLAR = '''
import functools
from collections.abc import Mapping

import torch


def reachable(thing, seen):
    """Everything that hangs on the view: attributes, items, closures, defaults, bound arguments."""
    if id(thing) in seen or isinstance(thing, (str, int, float, bool, type, type(None))):
        return
    seen[id(thing)] = thing
    parts = [getattr(thing, "__self__", None), getattr(thing, "__dict__", None)]
    if isinstance(thing, Mapping):
        parts += thing.values()
    if isinstance(thing, (list, tuple, set, frozenset)):
        parts += thing
    if isinstance(thing, functools.partial):
        parts += [thing.func, thing.args, thing.keywords]
    for cell in getattr(thing, "__closure__", None) or ():
        parts.append(cell.cell_contents)
    parts.append(getattr(thing, "__defaults__", None))
    parts.append(getattr(thing, "__kwdefaults__", None))
    for part in parts:
        reachable(part, seen)


def idle(view):
    return view.own, {}


def burglar(view):
    rows, seen = view.own.clone(), {}
    reachable(dict(vars(view)), seen)
    kinds = {type(thing).__name__ for thing in seen.values()}
    sizes = [len(thing) for thing in seen.values() if isinstance(thing, torch.Tensor) and thing.ndim]
    draws = [t.get_state() for t in seen.values() if isinstance(t, torch.Generator)]
    if view.aggregate is not None:
        view.aggregate(torch.cat([view.benign, view.own]))
    for thing in seen.values():
        if isinstance(thing, torch.Tensor):
            thing.data.fill_(3)
        elif isinstance(thing, torch.Generator):
            thing.manual_seed(11)
        elif isinstance(thing, dict) and any(isinstance(v, torch.Tensor) for v in thing.values()):
            for key in thing:
                thing[key] = None
    return rows, {"kinds": sorted(kinds), "sizes": sizes, "draws": draws}
'''
RULE = '''
import torch
from fedsim.types import Aggregate


def remembering(updates, view):
    """A rule with a memory, draws and trust in its root data."""
    memory = view.state.get("memory", torch.zeros_like(view.params))
    noise = torch.randn(view.params.shape, generator=view.generator)
    trusted = view.root_update * view.root[0].mean()
    memory = 0.5 * memory + updates.mean(dim=0)
    return Aggregate(memory + 0.01 * noise + 0.1 * trusted, None, {"memory": memory})
'''


def prepared(tree: dict[str, Any]) -> Federation:
    return prepare(load(tree)[0].scenario, DataSource(Path("none")))


def run(federation: Federation) -> list[State]:
    states: list[State] = []
    run_rounds(federation, None, lambda state, record: states.append(state))
    return states


@pytest.mark.parametrize("knowledge", KNOWLEDGE)
def test_no_attack_reaches_the_test_set_or_what_the_server_holds(tmp_path, monkeypatch, knowledge):
    (tmp_path / "thief.py").write_text(BURGLAR)
    (tmp_path / "rule.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)

    def tree(attack: str) -> dict[str, Any]:
        adversary = {"clients": 3, "knowledge": knowledge, "attack": {"name": f"thief.py:{attack}"}}
        server = {"root_data": 60, "aggregator": {"name": "rule.py:remembering"}}
        return {**TREE, "rounds": 3, "server": server, "adversary": adversary}

    world = prepared(tree("burglar"))
    robbed, left = run(world), run(prepared(tree("idle")))
    for one, other in zip(robbed, left, strict=True):
        assert torch.equal(one.params, other.params)
        assert one.rule.keys() == other.rule.keys()
        assert all(torch.equal(one.rule[key], other.rule[key]) for key in one.rule)
    (loot,) = robbed[-1].attack
    assert "AdversaryView" not in loot["kinds"]  # it began below the view itself
    assert "Tensor" in loot["kinds"]
    assert not {"Federation", "Dataset", "Split", "State", "Reply"} & set(loot["kinds"])
    assert len(world.data.test) not in loot["sizes"]


# No clients

ABSENT = [
    *[(p, {"attack": choose(p), "knowledge": "defense"}) for p in built_in("attacks")],
    *[(p, {"training": {"constraints": [choose(p)]}}) for p in built_in("constraints")],
    *[(p, {"poison": choose(p)}) for p in built_in("poisons")],
    *[
        (p, {"poison": {"name": "backdoor", "target": 2, "fraction": 0.5, "trigger": choose(p)}})
        for p in built_in("triggers")
    ],
]


@pytest.mark.parametrize(("plugin", "means"), ABSENT, ids=[plugin.name for plugin, _ in ABSENT])
def test_an_adversary_without_clients_changes_no_bit(plugin, means):
    """Images that a poison keeps from everybody are kept from the clean run too."""
    absent = prepared({**TREE, "adversary": {"clients": 0, **means}})
    clean = prepared(TREE)
    if plugin.facts.get("select") is None:
        for one, other in zip(absent.clients, clean.clients, strict=True):
            assert torch.equal(one, other)
    shared = replace(clean, clients=absent.clients)
    digests = [
        state_sha256({"params": last.params, "buffers": last.buffers})
        for last in (run(absent)[-1], run(shared)[-1])
    ]
    assert digests[0] == digests[1]


def test_the_same_means_change_the_model_in_the_hands_of_somebody():
    """What the test above compares can differ: with clients, most of it does."""
    same = []
    clean = run(prepared(TREE))[-1].params
    for plugin, means in ABSENT:
        if plugin.name in {"sign_flip", "projection", "backdoor", "label_flip", "a3fl"}:
            acting = run(prepared({**TREE, "adversary": {"clients": 4, **means}}))[-1].params
            same += [plugin.name] if torch.equal(acting, clean) else []
    assert same == []


def test_knowledge_is_declared_in_order():
    assert {p.facts.get("knowledge", "own") for p in map(attacks.get, attacks.names())} <= {
        *KNOWLEDGE
    }
