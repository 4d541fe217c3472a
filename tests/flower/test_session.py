"""One round through Flower's messages: what is refused, repeated, replaced and remembered."""

import pytest
import torch
from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict

from fedsim.errors import RunError
from fedsim.flower import engine, run_rounds
from fedsim.flower._private import identify_process
from fedsim.flower.messages import (
    LOST,
    model_record,
    order_message,
    read_order,
    read_reply,
    reply_message,
)
from fedsim.flower.runners import Sequential, call_client
from fedsim.scenario import Scenario
from fedsim.simulation import Reply, Visit, prepare
from fedsim.types import DataSource

TREE = {
    "name": "session",
    "rounds": 3,
    "model": {"name": "mlp", "hidden": [8]},
    "clients": {"total": 10, "per_round": 4, "training": {"lr": 0.1, "batch_size": 32}},
}


@pytest.fixture(autouse=True)
def identity():
    identify_process()


def world(tmp_path, **changes):
    return prepare(Scenario.model_validate({**TREE, **changes}), DataSource(tmp_path))


def order(params=(1.0, 2.0), buffers=()):
    record = model_record(torch.tensor(params), torch.tensor(buffers))
    return order_message(record, Visit(client=3, round=5, acting=True))


def test_an_order_arrives_as_it_was_sent():
    visit, params, buffers = read_order(order(), client=3)
    assert visit == Visit(3, 5, True)
    assert params.tolist() == [1.0, 2.0]
    assert len(buffers) == 0


def test_a_reply_arrives_as_it_was_sent():
    sent = Reply(3, torch.tensor([0.5, -0.25]), torch.tensor([7.0]), 12, 0.75, 0.01)
    got = read_reply(reply_message(sent, order()), client=3)
    assert torch.equal(got.update, sent.update)
    assert torch.equal(got.buffers, sent.buffers)
    assert (got.num_examples, got.loss, got.seconds, got.failed) == (12, 0.75, 0.01, None)


def forged(**metrics):
    arrays = metrics.pop("arrays", [torch.zeros(2).numpy(), torch.zeros(0).numpy()])
    facts = {"num-examples": 3, "loss": 0.1, "seconds": 0.1, **metrics}
    facts = {name: value for name, value in facts.items() if value is not None}
    content = RecordDict({"update": ArrayRecord(arrays), "metrics": MetricRecord(facts)})
    return Message(content, reply_to=order())


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (lambda: forged(**{"num-examples": None}), "malformed"),
        (lambda: forged(arrays=[torch.zeros(2).numpy()]), "malformed"),
        (lambda: forged(arrays=[torch.zeros(2, 1).numpy(), torch.zeros(0).numpy()]), "malformed"),
        (
            lambda: forged(arrays=[torch.zeros(2).double().numpy(), torch.zeros(0).numpy()]),
            "malformed",
        ),
        (lambda: forged(**{"num-examples": float("nan")}), "bad_count"),
        (lambda: Message(RecordDict(), reply_to=order()), "malformed"),
        (lambda: Message(Error(2, "it raised"), reply_to=order()), "raised"),
        (lambda: Message(Error(LOST, "gone"), reply_to=order()), "lost"),
    ],
)
def test_a_reply_that_cannot_be_read_has_its_reason(message, reason):
    assert read_reply(message(), client=3).failed == reason


def broken_runner(bad, times=None):
    """A runner in which the clients of `bad` raise, in the first `times` rounds."""

    class Broken(Sequential):
        rounds = 0

        def run(self, messages):
            Broken.rounds += 1
            replies = super().run(messages)
            if times is not None and Broken.rounds > times:
                return replies
            return [
                Message(Error(2, "boom"), reply_to=message) if k in bad else reply
                for k, (message, reply) in enumerate(zip(messages, replies, strict=True))
            ]

    return Broken


def play(federation):
    records = []
    run_rounds(federation, None, lambda _, record: records.append(record))
    return records


def test_a_client_that_raises_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "Sequential", broken_runner({1}))
    records = play(world(tmp_path))
    assert [r.round["num_failed"] for r in records] == [0, 1, 1, 1]
    assert [c["failed"] for c in records[1].clients] == [None, "raised", None, None]
    assert [c["weight"] for c in records[1].clients] == pytest.approx([1 / 3, None, 1 / 3, 1 / 3])


def test_a_round_with_too_few_replies_is_drawn_again(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "Sequential", broken_runner({0, 1}, times=1))
    records = play(world(tmp_path, server={"min_replies": 3}))
    whole = play(world(tmp_path))
    assert [r.round["round"] for r in records] == [0, 1, 2, 3]
    drawn, first = ([c["client"] for c in r[1].clients] for r in (records, whole))
    assert drawn != first


def test_a_repeated_round_leaves_nothing_with_the_adversary(tmp_path, monkeypatch):
    trigger = {"name": "a3fl", "size": 2, "steps": 2, "unlearn_steps": 1}
    adversary = {
        "clients": [1, 2],
        "knowledge": "benign",
        "poison": {"name": "backdoor", "target": 3, "fraction": 0.5, "trigger": trigger},
        "attack": {"name": "mimic"},
    }
    clients = {**TREE["clients"], "total": 4}  # all are drawn in every attempt
    ends = []
    for failing in (0, 2):
        monkeypatch.setattr(engine, "Sequential", broken_runner({0, 3}, times=failing))
        federation = world(
            tmp_path, clients=clients, server={"min_replies": 3}, adversary=adversary
        )
        ends.append(run_rounds(federation, None, lambda *_: None))
    unbroken, repeated = ends
    assert int(unbroken.attack[0]["rounds"]) == int(repeated.attack[0]["rounds"]) == 3
    assert torch.equal(unbroken.pattern, repeated.pattern)
    assert torch.equal(unbroken.params, repeated.params)


@pytest.mark.parametrize(("policy", "attempts"), [("repeat", 4), ("stop", 1)])
def test_a_round_that_never_gets_enough_replies_ends_the_run(
    tmp_path, monkeypatch, policy, attempts
):
    runner = broken_runner({0, 1, 2, 3})
    monkeypatch.setattr(engine, "Sequential", runner)
    with pytest.raises(RunError, match="min_replies=1"):
        play(world(tmp_path, server={"on_too_few": policy}))
    assert runner.rounds == attempts


def test_a_client_over_its_time_is_left_out(tmp_path):
    clients = {**TREE["clients"], "timeout": 1e-9}
    with pytest.raises(RunError, match="fewer than"):
        play(world(tmp_path, clients=clients))


def test_an_exception_in_a_client_becomes_an_error_reply(tmp_path):
    Sequential(world(tmp_path)).run([])
    reply = call_client(order())  # two parameters, where the model has hundreds
    assert reply.has_error()


def test_a_run_goes_on_from_any_state_as_if_unbroken(tmp_path):
    federation = world(
        tmp_path,
        server={
            "aggregator": {"name": "auror", "observe_rounds": 2},
            "optimizer": {"name": "adam"},
            "lr": 0.05,
            "postaggregators": [{"name": "gaussian_noise", "std": 0.01}],
        },
    )
    states, records = [], []

    def note(state, record):
        states.append(state)
        records.append({k: v for k, v in record.round.items() if k != "seconds"})

    last = run_rounds(federation, None, note)
    for done in (0, 1, 2):
        rest = []
        again = run_rounds(
            federation, states[done], lambda _, record, rest=rest: rest.append(record)
        )
        assert torch.equal(again.params, last.params)
        assert [{k: v for k, v in r.round.items() if k != "seconds"} for r in rest] == records[
            done + 1 :
        ]


def test_deterministic_algorithms_are_asked_for_and_given_back(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        engine,
        "initial_record",
        lambda *_: seen.append(torch.are_deterministic_algorithms_enabled()),
    )
    federation = world(tmp_path, engine={"deterministic": True})
    run_rounds(federation, None, lambda *_: None)
    assert seen == [True]
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_handed_over_by_reference_is_the_clients_own_and_the_servers_in_the_end():
    held = torch.tensor([1.0, 2.0])
    record = model_record(held, torch.zeros(0), by_reference=True)
    message = order_message(record, Visit(3, 5, True, previous_update=held))
    visit, params, _ = read_order(message, client=3)
    params += 1
    visit.previous_update.zero_()
    assert held.tolist() == [1.0, 2.0]
    sent = Reply(3, torch.tensor([0.5, -0.25]), torch.zeros(0), 12, 0.75, 0.01)
    assert read_reply(reply_message(sent, message), client=3).update is sent.update
