"""What is made of a scenario before its first round: data, root data, held-out images, the probe."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from fedsim.errors import RunError, ScenarioError, UnplacedError
from fedsim.scenario import Scenario, load
from fedsim.simulation import prepare
from fedsim.simulation.evaluation import evaluate
from fedsim.simulation.federation import Normalized
from fedsim.simulation.roles import draw_cohort
from fedsim.simulation.rounds import initial_state, server_view
from fedsim.tensors import torch_threads
from fedsim.types import DataSource

TREE = {
    "name": "prepared",
    "rounds": 3,
    "data": {"dataset": {"name": "digits"}},
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 10, "per_round": 4, "training": {"lr": 0.1}},
}
BACKDOOR = {
    "name": "backdoor",
    "target": 2,
    "fraction": 0.5,
    "trigger": {"name": "patch", "size": 2},
}


def made(tmp_path, **changes):
    return prepare(Scenario.model_validate({**TREE, **changes}), DataSource(tmp_path))


def test_every_training_image_belongs_to_exactly_one_client(tmp_path):
    ids = torch.cat(made(tmp_path).clients)
    assert sorted(ids.tolist()) == list(range(1437))


@pytest.mark.parametrize(("wanted", "count"), [(37, 37), (0.1, 144)])
def test_root_data_are_taken_from_the_clients(tmp_path, wanted, count):
    world = made(tmp_path, server={"root_data": wanted})
    assert len(world.root) == count
    assert len(torch.cat(world.clients)) == 1437 - count
    everything = torch.cat(
        [world.root.images, *(world.data.train.take(c).images for c in world.clients)]
    )
    assert everything.sum() == world.data.train.take(torch.arange(1437)).images.sum()


def test_a_rule_sees_root_data_only_where_they_are_granted(tmp_path):
    for server, granted in ({}, False), ({"root_data": 50}, True):
        world = made(tmp_path, server=server)
        model = world.build_model()
        state = initial_state(model)
        view = server_view(world, model, state, draw_cohort(world.scenario, 1), [])
        assert (view.root is not None) == granted
        assert (view.root_update is not None) == granted
        assert view.predict is None
        if granted:
            assert view.root_update.abs().sum() > 0
            assert not hasattr(view, "malicious")


def test_images_held_out_for_the_probe_are_trained_on_by_nobody(tmp_path):
    poison = {"name": "target_clients", "source": 7, "target": 1, "count": 4}
    world = made(tmp_path, adversary={"clients": 1, "poison": poison})
    kept = torch.cat(world.clients)
    assert len(kept) + len(world.probe.images) == 1437
    assert set(world.probe.expected.tolist()) == {1}
    assert world.probe.truth is None
    held_out = set(range(1437)) - set(kept.tolist())
    assert len(held_out) == len(world.probe.images)
    assert {int(world.data.train.labels[i]) for i in held_out} == {7}


@pytest.mark.parametrize(
    ("poison", "seen"),
    [
        ({"name": "semantic", "ids": [5, 8, 13, 21, 34], "target": 1}, 3),
        ({"name": "edge_case", "source": 7, "target": 1, "count": 9}, 5),
        ({"name": "instance_key", "key": 5, "target": 1}, 1),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_images_that_only_the_adversary_may_have_are_nobodys_own(tmp_path, poison, seen):
    world = made(tmp_path, adversary={"clients": [2, 4], "poison": poison})
    own = world.data.train.take(torch.cat(world.clients)).images.flatten(1)
    for split in (world.chosen, world.held_out):
        gone = split.images.flatten(1)
        assert len(gone) > 0
        assert not (own[:, None] == gone[None]).all(dim=2).any()
    assert len(world.chosen) == seen
    away = torch.cat([world.chosen.images, world.held_out.images]).flatten(1).unique(dim=0)
    assert len(own) == 1437 - len(away)


def test_the_probe_of_a_backdoor_leaves_the_target_class_out(tmp_path):
    world = made(tmp_path, adversary={"clients": 1, "poison": BACKDOOR})
    labels = world.data.test.labels
    assert len(world.probe.images) == int((labels != 2).sum())
    assert torch.equal(world.probe.truth, labels[labels != 2])
    assert (world.probe.images[..., -2:, -2:] == 1).all()


def test_a_model_that_always_says_target_has_full_success_and_no_robust_accuracy(tmp_path):
    world = made(
        tmp_path, model={"name": "mlp", "hidden": []}, adversary={"clients": 1, "poison": BACKDOOR}
    )
    model = world.build_model()
    state = initial_state(model)
    params = torch.zeros_like(state.params)
    params[-10 + 2] = 1.0  # the bias of class 2
    scores = evaluate(world, model, params, state.buffers)
    assert scores["attack_success_rate"] == 1.0
    assert scores["robust_accuracy"] == 0.0
    labels = world.data.test.labels
    assert scores["accuracy"] == pytest.approx(float((labels == 2).float().mean()))


def test_the_clean_twin_shares_everything_but_the_attack(tmp_path):
    tree = {**TREE, "clean_twin": True, "adversary": {"clients": 3, "poison": BACKDOOR}}
    scenario = Scenario.model_validate(tree)
    attacked, twin = (prepare(s, DataSource(tmp_path)) for s in (scenario, scenario.twin()))
    assert all(torch.equal(a, b) for a, b in zip(attacked.clients, twin.clients, strict=True))
    assert torch.equal(attacked.probe.images, twin.probe.images)
    assert draw_cohort(scenario, 2).clients == draw_cohort(scenario.twin(), 2).clients
    for a, b in zip(
        attacked.build_model().parameters(), twin.build_model().parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_normalize_is_a_layer_that_is_not_in_the_state(tmp_path):
    world = made(tmp_path, model={"name": "mlp", "hidden": [8], "normalize": True})
    model = world.build_model()
    assert isinstance(model, Normalized)
    assert set(model.state_dict()) == {f"network.{k}" for k in model.network.state_dict()}
    images = world.data.train.take(torch.arange(1437)).images
    seen = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(images)
    assert seen[0].mean().item() == pytest.approx(0, abs=1e-4)
    assert seen[0].std().item() == pytest.approx(1, abs=1e-3)


def test_what_normalizes_does_not_depend_on_the_number_of_threads(tmp_path):
    """A sum over this many values is split among them, so that its last bit would."""
    world = made(tmp_path, model={"name": "mlp", "hidden": [8], "normalize": True})
    images = torch.rand(20_000, 1, 28, 28, generator=torch.Generator().manual_seed(6))
    train = replace(world.data.train, images=images, labels=torch.arange(20_000) % 10)
    large, means = replace(world, data=replace(world.data, train=train)), []
    for count in (1, 2):
        with torch_threads(count):
            means.append(large.build_model().mean)
    assert torch.equal(*means)


def test_weights_are_where_the_model_starts(tmp_path):
    first = made(tmp_path).build_model()
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(1.0)
    save_file(first.state_dict(), tmp_path / "start.safetensors")
    world = made(
        tmp_path,
        model={"name": "mlp", "hidden": [8], "weights": str(tmp_path / "start.safetensors")},
    )
    for a, b in zip(world.build_model().parameters(), first.parameters(), strict=True):
        assert torch.equal(a, b)


def learned(trigger, **changes):
    """An adversary whose trigger would first be learned in the last round."""
    poison = {**BACKDOOR, "trigger": trigger, **changes}
    return {"adversary": {"clients": 1, "schedule": {"first": TREE["rounds"]}, "poison": poison}}


@pytest.mark.parametrize(
    ("changes", "where", "what"),
    [
        ({"clients": {**TREE["clients"], "total": 2000}}, "data.partition", "2000"),
        ({"server": {"root_data": 1436}}, "server.root_data", "1436 of 1437"),
        ({"model": {"name": "lenet5"}}, "model", "8"),
        (
            {
                "adversary": {
                    "clients": 4,
                    "poison": {
                        "name": "distributed_backdoor",
                        "target": 2,
                        "per_batch": 4,
                        "trigger": {"name": "dba", "size": 4, "gap": 2},
                    },
                }
            },
            "adversary.poison",
            "8",
        ),
        (
            {"adversary": {"clients": 1, "poison": {**BACKDOOR, "target": 10}}},
            "adversary.poison",
            "10",
        ),
        (learned({"name": "trojan", "neurons": 999}), "adversary.poison", "999"),
        (
            {**learned({"name": "trojan"}), "model": {"name": "mlp", "hidden": []}},
            "adversary.poison",
            "needs a layer before the last",
        ),
        (
            learned({"name": "a3fl"}, mode="all_to_all", target=None),
            "adversary.poison",
            "a3fl: needs a poison with a target",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_told_with_its_place(tmp_path, changes, where, what):
    with pytest.raises(UnplacedError) as caught:
        made(tmp_path, **changes)
    assert ".".join(map(str, caught.value.where)) == where
    assert what in caught.value.text
    assert "\n" not in str(caught.value)


def test_every_kind_of_plug_in_can_be_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        """
import torch
from fedsim.types import Dataset, Split

def data(source, *, count: int = 40):
    images = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    split = Split(images, torch.arange(count) % 2)
    return Dataset(split, split, 2)

def halves(labels, num_clients, generator):
    return list(torch.arange(len(labels)).chunk(num_clients))

def network(shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, num_classes))

def shrink(updates, *, by: float = 2.0):
    return updates / by

def weights(updates):
    return torch.full((len(updates),), 1 / len(updates))

def negate(view):
    return -view.own

def invert(images, *, level: float = 1.0):
    return level - images
"""
    )
    tree = {
        **TREE,
        "data": {
            "dataset": {"name": "mine.py:data", "count": 60},
            "partition": {"name": "mine.py:halves"},
        },
        "model": {"name": "mine.py:network"},
        "server": {
            "preaggregators": [{"name": "mine.py:shrink", "by": 4.0}],
            "aggregator": {"name": "mine.py:weights"},
        },
        "adversary": {
            "clients": 2,
            "poison": {
                **BACKDOOR,
                "target": 1,
                "trigger": {"name": "mine.py:invert", "level": 1.0},
            },
            "attack": {"name": "mine.py:negate"},
        },
    }
    (tmp_path / "s.yaml").write_text(json.dumps(tree))
    from fedsim.flower import run_rounds

    world = prepare(load(tmp_path / "s.yaml")[0].scenario, DataSource(tmp_path))
    records = []
    run_rounds(world, None, lambda _, record: records.append(record))
    assert [len(record.clients) for record in records] == [0, 4, 4, 4]
    assert records[-1].clients[0]["weight"] == pytest.approx(0.25)


def play(tmp_path, tree, text):
    from fedsim.flower import run_rounds

    (tmp_path / "user.py").write_text(text)
    document = {**TREE, **tree}
    (tmp_path / "user.yaml").write_text(json.dumps(document))
    world = prepare(load(tmp_path / "user.yaml")[0].scenario, DataSource(tmp_path))
    records = []
    state = run_rounds(world, None, lambda _, record: records.append(record))
    return state, records


def test_a_plain_function_is_a_poison_too(tmp_path):
    text = "def noughts(images, labels, view):\n    return images, labels * 0\n"
    everybody = {"clients": 10, "poison": {"name": "user.py:noughts"}}
    _, records = play(tmp_path, {"adversary": everybody}, text)
    assert all(client["failed"] is None for record in records for client in record.clients)
    assert records[-1].round["attack_success_rate"] is None
    assert records[-1].round["accuracy"] == pytest.approx(0.1, abs=0.03), "it says nought to all"


def test_two_files_may_declare_the_same_name(tmp_path, monkeypatch):
    from fedsim.poisons import poisons

    monkeypatch.setattr(poisons, "_plugins", dict(poisons._plugins))
    text = "from fedsim.poisons import poisons\n@poisons.declare(when='{}', probe=None)\ndef mine(images, labels, view):\n    return images, labels\n"
    for name, when in (("one", "once"), ("two", "batch")):
        (tmp_path / f"{name}.py").write_text(text.format(when))
    for name, when in (("one", "once"), ("two", "batch"), ("one", "once")):
        assert poisons.get(f"{name}.py:mine", tmp_path).facts["when"] == when


def test_dropout_draws_the_same_every_time(tmp_path):
    text = """
import torch
def network(shape, num_classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(64, num_classes))
"""
    first, second = (play(tmp_path, {"model": {"name": "user.py:network"}}, text) for _ in range(2))
    assert torch.equal(first[0].params, second[0].params)


RULE = """
import torch
from fedsim.types import Aggregate

def counting(updates, view):
    seen = view.state.get("seen", torch.zeros(1))
    seen += 1
    view.params.zero_()
    return Aggregate(updates.mean(dim=0) / seen, None, {"seen": seen})

def curious(view, *, look: bool):
    if look:
        view.aggregate(view.own)
        view.params.zero_()
    return view.own

def double(updates):
    return updates.mean(dim=0).double()
"""


def test_an_adversary_that_tries_the_rule_or_writes_in_place_moves_nothing(tmp_path):
    def tree(look):
        attack = {"name": "user.py:curious", "look": look}
        return {
            "server": {"aggregator": {"name": "user.py:counting"}},
            "adversary": {"clients": 5, "knowledge": "defense", "attack": attack},
        }

    looked, left = (play(tmp_path, tree(look), RULE)[0] for look in (True, False))
    assert torch.equal(looked.params, left.params)
    assert looked.rule["seen"] == left.rule["seen"] == 3


def test_a_rule_in_double_precision_leaves_the_model_in_single(tmp_path):
    state, records = play(tmp_path, {"server": {"aggregator": {"name": "user.py:double"}}}, RULE)
    assert state.params.dtype == torch.float32
    assert all(record.round["num_failed"] == 0 for record in records)


def test_a_rule_that_makes_nonsense_of_sound_updates_ends_the_run(tmp_path):
    text = "def void(updates):\n    return updates.mean(dim=0) * float('nan')\n"
    with pytest.raises(
        RunError, match="round 1: server: the rule made an update that is not finite"
    ):
        play(tmp_path, {"server": {"aggregator": {"name": "user.py:void"}}}, text)


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (
            "dataset",
            "def wrong(*, train: int = 3): ...",
            r"must be a function \(source\) → Dataset",
        ),
        ("dataset", "def wrong(source):\n    return 1, 2", "must return fedsim.types.Dataset"),
        ("partition", "def wrong(labels): ...", r"\(labels, num_clients, generator\)"),
    ],
)
def test_a_function_of_the_wrong_shape_is_told_what_it_must_be(tmp_path, kind, text, told):
    with pytest.raises((UnplacedError, ScenarioError), match=told):
        play(tmp_path, {"data": {kind: {"name": "user.py:wrong"}}}, text)


def test_a_rule_that_declares_the_need_gets_a_forward_pass(tmp_path, monkeypatch):
    from fedsim.aggregators import aggregators

    monkeypatch.setattr(aggregators, "_plugins", dict(aggregators._plugins))
    text = """
import torch
from fedsim.aggregators import aggregators
from fedsim.types import Aggregate

@aggregators.declare(needs=("predict",))
def watching(updates, view):
    logits = view.predict(view.params, torch.zeros(3, 1, 8, 8))
    return Aggregate(updates.mean(dim=0), None, {"shape": torch.tensor(logits.shape)})
"""
    state, _ = play(tmp_path, {"server": {"aggregator": {"name": "user.py:watching"}}}, text)
    assert state.rule["shape"].tolist() == [3, 10]
