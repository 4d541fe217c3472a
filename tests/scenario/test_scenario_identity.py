"""The resolved scenario, and the eight digits that stand for its numbers."""

import hashlib
import json

import pytest
import yaml

from fedsim import __version__
from fedsim.registry import REGISTRIES
from fedsim.scenario import load
from fedsim.scenario.yaml12 import read
from tests.scenario.scenario_texts import FULL, MINIMAL, minimal

FULL_TREE = read(FULL)[0]
RULE = "def rule(updates, *, x: float = 1.0):\n    return updates.mean(0)\n"


def one(source, *overrides):
    (cell,) = load(source, overrides)
    return cell.scenario


def hash_with(*overrides):
    return one(FULL_TREE, *overrides).hash8


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_a_resolved_scenario_loads_to_an_equal_one(folder, text):
    (folder / "a.yaml").write_text(text)
    scenario = one("a.yaml")
    (folder / "b.yaml").write_text(yaml.safe_dump(scenario.resolved(), sort_keys=False))
    again = one("b.yaml")
    assert again == scenario
    assert again.resolved() == scenario.resolved()
    assert again.hash8 == scenario.hash8


PLACES = {
    "aggregators": "server.aggregator",
    "optimizers": "server.optimizer",
    "datasets": "data.dataset",
    "partitions": "data.partition",
    "models": "model",
}
LISTS = {
    "preaggregators": "server.preaggregators",
    "postaggregators": "server.postaggregators",
    "constraints": "adversary.training.constraints",
    "attacks": "adversary.attack",
    **dict.fromkeys(("inspections", "repairs", "filters"), "after"),
    "monitors": "monitors",
}


def test_every_plug_in_that_needs_no_parameters_comes_back(folder):
    for kind in (*PLACES, *LISTS):
        for name in REGISTRIES[kind].names():
            plugin = REGISTRIES[kind].get(name)
            if any(field.is_required() for field in plugin.parameters.model_fields.values()):
                continue
            key, value = (PLACES | LISTS)[kind], {"name": name}
            tree = minimal(
                adversary={"clients": 4, "knowledge": "defense"}, server={"root_data": 8}
            )
            (cell,) = load(tree, {key: [value] if kind in LISTS else value})
            (folder / "b.yaml").write_text(yaml.safe_dump(cell.scenario.resolved()))
            assert one("b.yaml") == cell.scenario, name


def test_every_default_is_visible():
    resolved = one(minimal(adversary={"clients": 4})).resolved()
    assert resolved["model"] == {
        "name": "mlp",
        "hidden": [64],
        "activation": "relu",
        "normalize": False,
        "weights": None,
    }
    assert resolved["server"]["aggregator"] == {"name": "mean", "weighting": "uniform"}
    assert resolved["adversary"]["schedule"] == {
        "first": 1,
        "last": None,
        "every": 1,
        "forced": False,
        "turns": "all",
        "pool": "fixed",
    }
    assert "matrix" not in resolved


def test_a_schedule_of_rounds_says_nothing_of_first_and_last():
    resolved = one(minimal(adversary={"clients": 4, "schedule": {"rounds": [3]}})).resolved()
    assert resolved["adversary"]["schedule"] == {
        "rounds": [3],
        "forced": False,
        "turns": "all",
        "pool": "fixed",
    }


def test_the_hash_can_be_recomputed():
    scenario = one(FULL_TREE)
    tree = scenario.resolved()
    del tree["name"]
    for key in ("name", "workers", "address", "num_cpus", "num_gpus"):
        del tree["engine"][key]
    version = ".".join(__version__.split(".")[:2])
    text = json.dumps([version, tree], sort_keys=True, separators=(",", ":"))
    assert scenario.hash8 == hashlib.sha256(text.encode()).hexdigest()[:8]


@pytest.mark.parametrize(
    "override",
    [
        "name=other",
        "engine.name=inprocess",
        "engine.workers=3",
        "engine.address='10.0.0.1:6379'",
        "engine.num_cpus=2",
        "engine.num_gpus=1",
        "clients.training.lr=1.0e-1",
        "adversary.training.lr_factor=0.1",
        "server.lr={1: 1, 11: 0.1}",
    ],
)
def test_what_cannot_change_a_number_leaves_the_hash(override):
    assert hash_with(override) == hash_with()


@pytest.mark.parametrize(
    "override",
    [
        "seed=8",
        "rounds=61",
        "evaluate_every=4",
        "clean_twin=false",
        "engine.device=auto",
        "engine.trainer=auto",
        "engine.server_threads=2",
        "engine.deterministic=true",
        "clients.training.lr=0.2",
        "adversary.poison.trigger.gap=[3, 2]",
        "adversary.training.constraints.0.radius=0.2",
        "server.lr.11=0.2",
        "model.normalize=false",
        "after.0.fall=0.2",
        "after.1.inspection.steps=11",
        "after=[]",
        "monitors.0.window=6",
        "monitors=[]",
    ],
)
def test_what_can_change_a_number_changes_the_hash(override):
    assert hash_with(override) != hash_with()


def test_a_file_of_the_user_counts_by_its_content(folder):
    def hash_in(name, rule=RULE, function="rule", file="mine.py"):
        (folder / name).mkdir(exist_ok=True)
        (folder / name / file).write_text(rule)
        text = MINIMAL + f"server: {{aggregator: {{name: {file}:{function}}}}}"
        (folder / name / "a.yaml").write_text(text)
        return one(folder / name / "a.yaml").hash8

    first = hash_in("one")
    assert hash_in("two") == first
    assert hash_in("two", file="renamed.py") == first
    assert hash_in("one", rule=RULE + "# changed\n") != first
    assert hash_in("one", rule=RULE + "other = rule\n", function="other") != first
    assert hash_in("one") == first


def test_a_file_that_changes_after_loading_does_not_change_the_hash(folder):
    (folder / "mine.py").write_text(RULE)
    scenario = one(minimal(server={"aggregator": {"name": "mine.py:rule"}}))
    before = scenario.hash8
    (folder / "mine.py").write_text(RULE + "# changed\n")
    assert scenario.hash8 == before
    assert scenario.twin().hash8 == before


def test_files_inside_plug_ins_count_too(folder):
    def hash_of(value):
        code = f"def stamp(images):\n    return images * {value}\n"
        (folder / "trigger.py").write_text(code)
        trigger = {"name": "trigger.py:stamp"}
        poison = {"name": "backdoor", "target": 1, "fraction": 0.5, "trigger": trigger}
        return one(minimal(adversary={"clients": 1, "poison": poison})).hash8

    assert hash_of(1) != hash_of(2)
    assert hash_of(1) == hash_of(1)


def test_weights_count_by_their_content(folder):
    def hash_of(file, content):
        (folder / file).write_bytes(content)
        return one(minimal(model={"name": "mlp", "weights": file})).hash8

    assert hash_of("a.bin", b"1") == hash_of("b.bin", b"1") != hash_of("a.bin", b"2")
    assert hash_of("a.bin", b"1") != one(minimal()).hash8
