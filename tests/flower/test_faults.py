"""Clients that fail in every way there is: the round goes on with the others, and tells."""

import math

import pytest
import torch

from fedsim.errors import RunError, ScenarioError
from fedsim.flower import run_rounds
from fedsim.scenario import Scenario, load
from fedsim.simulation import prepare
from fedsim.types import DataSource

TREE = {
    "name": "faults",
    "rounds": 3,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 12, "per_round": 12, "training": {"lr": 0.1, "batch_size": 32}},
}

REASONS = {
    "raise": "raised",
    "nan": "non_finite",
    "inf": "non_finite",
    "wrong_shape": "malformed",
    "missing_key": "malformed",
    "junk": "malformed",
    "forged_count": "bad_count",
    "silent": "lost",
    "exit": "lost",
    "slow": "timeout",
}
ALL = [{"name": name, "clients": [k + 1], "rounds": [2]} for k, name in enumerate(REASONS)]


def play(tmp_path, **changes):
    scenario = load({**TREE, **changes})[0].scenario
    records = []
    state = run_rounds(
        prepare(scenario, DataSource(tmp_path)), None, lambda _, record: records.append(record)
    )
    return state, records


def with_time(**changes):
    """A time that no client of these sizes takes, even on a busy machine."""
    return {"clients": {**TREE["clients"], "timeout": 8.0}, **changes}


def failed(records, round_):
    return {c["client"]: c["failed"] for c in records[round_].clients if c["failed"]}


EXPECTED = {k + 1: reason for k, reason in enumerate(REASONS.values())}


def check(state, records):
    """Round 2 lost the ten and nobody else, and the rounds around it nobody."""
    assert failed(records, 2) == EXPECTED
    assert failed(records, 1) == failed(records, 3) == {}
    assert [record.round["num_failed"] for record in records] == [0, 0, 10, 0]
    weights = [client["weight"] for client in records[2].clients]
    assert weights == [0.5, *[None] * 10, 0.5]
    assert torch.isfinite(state.params).all()


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return play(tmp_path_factory.mktemp("data"), **with_time(faults=ALL))


def test_every_fault_costs_its_own_client_alone(here):
    check(*here)


def equal(left, right):
    """Parameters and records but for seconds."""
    assert torch.equal(left[0].params, right[0].params)
    for one, other in zip(left[1], right[1], strict=True):
        assert one.clients == other.clients
        assert {**one.round, "seconds": 0} == {**other.round, "seconds": 0}


def test_worker_processes_die_and_are_replaced(here, tmp_path):
    there = play(tmp_path, **with_time(faults=ALL, engine={"workers": 2}))
    check(*there)
    equal(here, there)


def test_clients_that_fail_are_left_out_of_the_batch(here, tmp_path):
    state, records = play(tmp_path, **with_time(faults=ALL, engine={"trainer": "vectorised"}))
    check(state, records)
    torch.testing.assert_close(state.params, here[0].params, rtol=1e-4, atol=1e-5)


@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_actors_die_and_are_replaced(here, tmp_path):
    pytest.importorskip("ray")
    there = play(tmp_path, **with_time(faults=ALL, engine={"name": "ray", "workers": 2}))
    check(*there)
    equal(here, there)


@pytest.mark.parametrize("count", [-1, 0, 10**18, 1e18, 0.5])
def test_a_forged_count_is_not_believed(tmp_path, count):
    faults = [{"name": "forged_count", "clients": [4], "count": count}]
    _, records = play(tmp_path, rounds=1, faults=faults)
    assert failed(records, 1) == {4: "bad_count"}
    assert records[1].clients[4]["weight"] is None


def test_a_fault_without_clients_and_rounds_is_everybodys(tmp_path):
    with pytest.raises(
        RunError,
        match=r"round 1: fewer than server.min_replies=1 .* 4 attempt.*12 non_finite: the global model",
    ):
        play(tmp_path, faults=[{"name": "nan"}])


def test_a_round_is_repeated_with_another_cohort(tmp_path):
    clients = {**TREE["clients"], "per_round": 4}
    server = {"min_replies": 4}
    calm = play(tmp_path, clients=clients, rounds=1)[1]
    unlucky = calm[1].clients[0]["client"]
    faults = [{"name": "raise", "clients": [unlucky]}]
    _, records = play(tmp_path, clients=clients, server=server, rounds=1, faults=faults)
    assert failed(records, 1) == {}
    assert unlucky not in [client["client"] for client in records[1].clients]
    with pytest.raises(RunError, match="1 attempt"):
        play(tmp_path, clients=clients, server={**server, "on_too_few": "stop"}, faults=faults)


def test_an_attacker_that_fails_is_not_crafted_for(tmp_path):
    adversary = {"clients": [0, 1], "attack": {"name": "sign_flip", "factor": 2.0}}
    faults = [{"name": "nan", "clients": [0]}]
    _, records = play(tmp_path, adversary=adversary, faults=faults)
    assert failed(records, 2) == {0: "non_finite"}
    assert records[2].clients[1]["acting"]
    assert math.isfinite(records[-1].round["loss"])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"name": "nan", "clients": [12]}, r"faults.0.clients.0.*below clients.total, 12"),
        ({"name": "nan", "rounds": [4]}, r"faults.0.rounds.0.*at most rounds, 3"),
        ({"name": "nan", "count": 3}, r"faults.0.count.*belongs to 'forged_count'"),
        ({"name": "slow", "seconds": 0}, r"faults.0.seconds.*greater than 0"),
        ({"name": "crash"}, r"faults.0.name"),
    ],
)
def test_a_fault_that_cannot_happen_is_refused(fault, told):
    with pytest.raises(ScenarioError, match=told):
        load({**TREE, "faults": [fault]})


def test_the_scenario_of_a_run_folder_can_be_read_again():
    scenario = load({**TREE, "faults": ALL})[0].scenario
    again = load(scenario.resolved())[0].scenario
    assert (again, again.hash8) == (scenario, scenario.hash8)


def test_the_twin_has_the_same_faults():
    scenario = Scenario.model_validate({**TREE, "adversary": {"clients": 1}, "faults": ALL})
    assert scenario.twin().faults == scenario.faults
