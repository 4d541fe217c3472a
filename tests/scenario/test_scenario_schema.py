"""What a scenario says when it says little, and what its parts answer."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from fedsim.scenario import Scenario, load
from tests.scenario.scenario_texts import FULL, MINIMAL, minimal


def one(**keys):
    return load(minimal(**keys))[0].scenario


def adversary(**keys):
    return one(adversary={"clients": 2, **keys}).adversary


def test_defaults():
    scenario = one()
    assert scenario.seed == 0
    assert scenario.evaluate_every == 1
    assert not scenario.clean_twin
    assert scenario.data.dataset.name == "digits"
    assert scenario.data.partition.name == "iid"
    assert scenario.model.network.name == "mlp"
    assert not scenario.model.normalize
    assert scenario.model.weights is None
    assert scenario.clients.timeout is None
    assert scenario.server.preaggregators == []
    assert scenario.server.aggregator.config() == {"name": "mean", "weighting": "uniform"}
    assert scenario.server.postaggregators == []
    assert scenario.server.optimizer.name == "sgd"
    assert (scenario.server.lr, scenario.server.buffers) == (1.0, "average")
    assert (scenario.server.root_data, scenario.server.min_replies) == (None, 1)
    assert scenario.server.on_too_few == "repeat"
    assert scenario.adversary is None
    assert dict(scenario.engine) == {
        "name": "inprocess",
        "trainer": "auto",
        "workers": 1,
        "server_threads": 1,
        "address": None,
        "num_cpus": 1.0,
        "num_gpus": 0.0,
        "device": "auto",
        "deterministic": False,
    }
    assert dict(scenario.clients.training) == {
        "epochs": 1,
        "steps": None,
        "batch_size": 64,
        "lr": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "lr_decay": 1.0,
    }


def test_defaults_of_the_adversary():
    found = adversary()
    assert dict(found.schedule) == {
        "first": 1,
        "last": None,
        "every": 1,
        "rounds": None,
        "forced": False,
        "turns": "all",
        "pool": "fixed",
    }
    assert (found.knowledge, found.poison, found.training, found.attack) == ("own", None, None, [])


def test_a_full_scenario(folder):
    (folder / "a.yaml").write_text(FULL)
    (cell,) = load("a.yaml")
    scenario = cell.scenario
    assert cell.labels == {}
    assert not cell.is_swept
    assert scenario.clients.training.lr == 0.1
    assert scenario.clients.training.epochs is None
    assert scenario.model.network.parameters["hidden"] == (32, 16)
    assert [choice.parameters["norm"] for choice in scenario.server.preaggregators] == [3, "median"]
    assert scenario.server.postaggregators[0].parameters["on"] == "mean"
    assert scenario.server.lr == {1: 1.0, 11: 0.1}
    assert scenario.adversary.poison.parameters["trigger"].parameters["gap"] == (2, 3)
    assert [choice.parameters["factor"] for choice in scenario.adversary.attack] == ["auto", 100.0]


def test_everything_is_frozen():
    scenario = one(adversary={"clients": 2})
    for part in (scenario, scenario.server, scenario.adversary.schedule, scenario.clients.training):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, next(iter(type(part).model_fields)), 3)


def test_the_servers_learning_rate():
    assert one(server={"lr": 0.5}).server.lr_at(7) == 0.5
    server = one(server={"lr": {1: 1.0, 11: 0.1, 20: 0.01}}).server
    rates = [server.lr_at(round) for round in (1, 10, 11, 19, 20, 60)]
    assert rates == [1.0, 1.0, 0.1, 0.1, 0.01, 0.01]


@pytest.mark.parametrize(
    ("schedule", "rounds"),
    [
        ({}, range(1, 61)),
        ({"first": 11}, range(11, 61)),
        ({"first": 3, "last": 9, "every": 3}, [3, 6, 9]),
        ({"first": 3, "last": 8, "every": 3}, [3, 6]),
        ({"rounds": [12, 14]}, [12, 14]),
        ({"rounds": [12, 14], "turns": "each"}, [12, 14]),
    ],
)
def test_when_the_adversary_acts(schedule, rounds):
    found = adversary(schedule=schedule).schedule
    assert [k for k in range(62) if found.active(k, 60)] == list(rounds)


def test_turns():
    schedule = adversary(schedule={"rounds": [12, 14], "turns": "each"}).schedule
    assert [schedule.turn(round) for round in (11, 12, 13, 14)] == [None, 0, None, 1]
    assert adversary(schedule={"rounds": [12, 14]}).schedule.turn(12) is None
    assert adversary().schedule.turn(12) is None


@pytest.mark.parametrize(
    ("keys", "count"),
    [
        ({"clients": 7}, 7),
        ({"clients": 0}, 0),
        ({"clients": []}, 0),
        ({"clients": [4, 2]}, 2),
        ({"fraction": 0.0}, 0),
        ({"fraction": 0.2}, 20),
        ({"fraction": 0.244}, 24),
        ({"fraction": 0.245}, 25),
        ({"fraction": 1.0}, 100),
    ],
)
def test_how_many_are_malicious(keys, count):
    assert one(adversary=keys).num_malicious == count
    assert one().num_malicious == 0


def test_nobody_attacks_so_nobody_is_missing():
    schedule = {"rounds": [3, 4], "turns": "each", "forced": True}
    poison = {
        "name": "distributed_backdoor",
        "target": 1,
        "per_batch": 2,
        "trigger": {"name": "patch"},
    }
    one(adversary={"clients": 0, "schedule": schedule, "poison": poison})


def test_what_attackers_do_not_say_is_as_honest_clients_do_it():
    clients = {
        "total": 9,
        "per_round": 9,
        "training": {"steps": 5, "lr": 0.1, "momentum": 0.9, "lr_decay": 0.9},
    }
    honest = one(clients=clients).clients.training
    assert dict(adversary(training={}).training.merged(honest)) == {
        **dict(honest),
        "lr_milestones": [],
        "lr_factor": 0.1,
        "constraints": [],
    }
    projection = {"name": "projection", "norm": "l2", "radius": 2.0}
    own = {"epochs": 10, "lr": 0.05, "lr_milestones": [0.2], "constraints": [projection]}
    merged = adversary(training=own).training.merged(honest)
    assert (merged.epochs, merged.steps) == (10, None)
    assert (merged.lr, merged.momentum, merged.lr_decay) == (0.05, 0.9, 0.9)
    assert (merged.lr_milestones, merged.lr_factor) == ([0.2], 0.1)
    assert merged.constraints[0].config() == {**projection, "every": 1}


def test_the_clean_twin():
    poison = {
        "name": "backdoor",
        "target": 1,
        "fraction": 0.5,
        "trigger": {"name": "patch"},
    }
    attack = {"name": "boost", "factor": 2.0}
    attacked = one(clean_twin=True, adversary={"clients": 4, "poison": poison, "attack": attack})
    twin = attacked.twin()
    assert twin == one(adversary={"clients": 0, "poison": poison})
    assert twin.hash8 == one(adversary={"clients": 0, "poison": poison}).hash8 != attacked.hash8
    assert twin.adversary.poison == attacked.adversary.poison
    assert twin.twin() == twin
    assert one().twin() == one()


def test_a_null_section_can_be_filled_from_the_command_line(folder):
    (folder / "a.yaml").write_text(MINIMAL + "adversary: null")
    assert load("a.yaml")[0].scenario.adversary is None
    assert load("a.yaml", ["adversary.clients=3"])[0].scenario.num_malicious == 3


def test_weights_are_beside_the_scenario(folder):
    (folder / "deep").mkdir()
    (folder / "deep" / "w.safetensors").write_bytes(b"w")
    text = MINIMAL.replace("{name: mlp}", "{name: mlp, weights: w.safetensors}")
    (folder / "deep" / "a.yaml").write_text(text)
    scenario = load("deep/a.yaml")[0].scenario
    assert scenario.model.weights == str(folder / "deep" / "w.safetensors")
    (folder / "v.safetensors").write_bytes(b"v")
    scenario = load("deep/a.yaml", ["model.weights=v.safetensors"])[0].scenario
    assert scenario.model.weights == str(folder / "v.safetensors")


def test_scenario_imports_nothing_heavy():
    heavy = "{'flwr', 'ray', 'sklearn', 'matplotlib'}"
    code = f"import sys, fedsim.scenario; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_scenario_equals_only_scenarios():
    assert one() != one(seed=1)
    assert one() != "a"
    assert isinstance(one(), Scenario)
