"""The round on a federation small enough to compute by hand."""

from dataclasses import replace

import pytest
import torch

from fedsim.errors import PreconditionError, RunError
from fedsim.scenario import Scenario
from fedsim.simulation import Cohort, Federation, Reply, State, close_round, rounds
from fedsim.simulation.adversary import craft
from fedsim.simulation.rounds import check_reply, initial_record, initial_state
from fedsim.types import Dataset, Split

TREE = {
    "name": "by-hand",
    "rounds": 4,
    "model": {"name": "mlp", "hidden": []},
    "clients": {"total": 4, "per_round": 3, "training": {"lr": 0.1}},
}


def federation(**changes) -> Federation:
    draws = torch.Generator().manual_seed(0)
    images = torch.rand(12, 1, 2, 2, generator=draws)
    split = Split(images, torch.arange(12) % 3)
    return Federation(
        scenario=Scenario.model_validate({**TREE, **changes}),
        data=Dataset(split, split, 3),
        clients=tuple(torch.arange(3 * i, 3 * i + 3) for i in range(4)),
        chosen=None,
        probe=None,
        root=None,
        device=torch.device("cpu"),
    )


def cohort(acting=()) -> Cohort:
    return Cohort(1, (0, 2, 3), frozenset(acting), frozenset(acting))


def replies(*rows, state) -> list[Reply]:
    return [
        Reply(client, torch.full_like(state.params, value), state.buffers, 3, 0.5)
        for client, value in zip((0, 2, 3), rows, strict=True)
    ]


def start(world):
    model = world.build_model()
    return model, initial_state(model)


def test_the_server_steps_along_the_mean():
    world = federation(server={"lr": {1: 0.5, 2: 0.1}})
    model, state = start(world)
    after, record = close_round(
        world, model, state, cohort(), replies(3.0, 0.0, 6.0, state=state), 0.0
    )
    torch.testing.assert_close(after.params, state.params + 0.5 * 3.0)
    assert after.round == 1
    assert record.round["update_norm"] == pytest.approx(1.5 * len(state.params) ** 0.5)
    assert [c["weight"] for c in record.clients] == pytest.approx([1 / 3] * 3)
    assert [c["norm"] for c in record.clients] == pytest.approx(
        [value * len(state.params) ** 0.5 for value in (3.0, 0.0, 6.0)]
    )


def test_replies_are_sorted_so_their_order_changes_nothing():
    world = federation()
    model, state = start(world)
    rows = replies(1e-3, 1.0, -1.0, state=state)
    one, _ = close_round(world, model, state, cohort(), rows, 0.0)
    other, _ = close_round(world, model, state, cohort(), rows[::-1], 0.0)
    assert torch.equal(one.params, other.params)


def test_failed_replies_are_left_out_and_named():
    world = federation()
    model, state = start(world)
    rows = replies(3.0, float("nan"), 6.0, state=state)
    rows = [check_reply(row, state) for row in rows]
    after, record = close_round(world, model, state, cohort(), rows, 0.0)
    torch.testing.assert_close(after.params, state.params + 4.5)
    assert [c["failed"] for c in record.clients] == [None, "non_finite", None]
    assert record.clients[1]["weight"] is None
    assert record.round["num_failed"] == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"update": torch.zeros(2)}, "malformed"),
        ({"num_examples": -70}, "bad_count"),
        ({"num_examples": 0}, "bad_count"),
        ({"num_examples": 10**18}, "bad_count"),
        ({}, None),
    ],
)
def test_a_reply_that_cannot_be_used_is_marked(change, reason):
    _, state = start(federation())
    reply = replace(replies(1.0, 1.0, 1.0, state=state)[0], **change)
    assert check_reply(reply, state).failed == reason


def test_no_usable_reply_leaves_the_model_as_it_is():
    world = federation()
    model, state = start(world)
    rows = [replace(row, failed="raised") for row in replies(1.0, 1.0, 1.0, state=state)]
    after, record = close_round(world, model, state, cohort(), rows, 0.0)
    assert torch.equal(after.params, state.params)
    assert record.round["num_failed"] == 3


def test_round_zero_is_the_initial_model():
    world = federation()
    model, state = start(world)
    record = initial_record(world, model, state)
    assert record.round["round"] == 0
    assert record.round["attack_success_rate"] is None
    assert 0 <= record.round["accuracy"] <= 1


def test_rounds_between_evaluations_have_nulls():
    world = federation(evaluate_every=3)
    model, state = start(world)
    _, record = close_round(world, model, state, cohort(), replies(1.0, 1.0, 1.0, state=state), 0.0)
    assert record.round["accuracy"] is None
    _, record = close_round(
        world,
        model,
        replace(state, round=2),
        cohort()._replace(round=3),
        replies(0.0, 0.0, 0.0, state=state),
        0.0,
    )
    assert record.round["accuracy"] is not None


class Norm:
    """Buffers: a model whose BatchNorm statistics travel."""

    def world(self, **server):
        tree = {
            **TREE,
            "server": server,
            "model": {"name": "resnet18", "norm": "batch", "width": 2},
        }
        draws = torch.Generator().manual_seed(0)
        split = Split(torch.rand(12, 1, 8, 8, generator=draws), torch.arange(12) % 3)
        return replace(
            federation(), scenario=Scenario.model_validate(tree), data=Dataset(split, split, 3)
        )


@pytest.mark.parametrize(
    ("policy", "lr", "expected"), [("average", 1.0, 5.0), ("average", 0.1, 0.5), ("keep", 1.0, 0.0)]
)
def test_buffers_move_by_policy_and_never_enter_the_rule(policy, lr, expected):
    world = Norm().world(buffers=policy, lr=lr)
    model, state = start(world)
    rows = [
        replace(row, buffers=state.buffers + value)
        for row, value in zip(replies(1.0, 1.0, 1.0, state=state), (0.0, 5.0, 10.0), strict=True)
    ]
    after, _ = close_round(world, model, state, cohort(), rows, 0.0)
    torch.testing.assert_close(after.buffers, state.buffers + expected)


@pytest.mark.parametrize(("boosted", "expected"), [(False, 2.0), (True, 20.0)])
def test_boost_touches_buffers_only_when_asked(boosted, expected):
    world = Norm().world()
    tree = {
        **world.scenario.resolved(),
        "adversary": {
            "clients": [2],
            "attack": {"name": "boost", "factor": 10.0, "buffers": boosted},
        },
    }
    world = replace(world, scenario=Scenario.model_validate(tree))
    model, state = start(world)
    honest = [
        replace(row, buffers=state.buffers + 2.0) for row in replies(1.0, 1.0, 1.0, state=state)
    ]
    sent, _ = craft(world, model, state, cohort({2}), honest)
    torch.testing.assert_close(sent[1].buffers, state.buffers + expected)
    torch.testing.assert_close(sent[1].update, torch.full_like(state.params, 10.0))
    assert sent[0] is honest[0]
    assert sent[2] is honest[2]


def _spy(world, knowledge):
    return {
        **world.scenario.resolved(),
        "adversary": {
            "clients": [2],
            "knowledge": knowledge,
            "attack": {"name": "boost", "factor": 1.0},
        },
    }


@pytest.mark.parametrize("knowledge", ["own", "benign", "defense"])
def test_the_adversary_sees_what_its_knowledge_grants(knowledge):
    from fedsim.simulation.adversary import _view

    world = federation()
    world = replace(world, scenario=Scenario.model_validate(_spy(world, knowledge)))
    model, state = start(world)
    rows = replies(1.0, 2.0, 6.0, state=state)
    view = _view(world, model, state, cohort({2}), rows)
    torch.testing.assert_close(view.own, torch.full_like(view.own, 2.0))
    assert (view.benign is None) == (knowledge == "own")
    assert (view.aggregate is None) == (knowledge != "defense")
    assert view.benign_ids == (None if knowledge == "own" else (0, 3))
    if view.benign is not None:
        torch.testing.assert_close(view.benign[:, 0], torch.tensor([1.0, 6.0]))
    if view.aggregate is not None:
        stack = torch.stack([row.update for row in rows])
        torch.testing.assert_close(view.aggregate(stack), torch.full_like(state.params, 3.0))


def test_state_is_a_value():
    world = federation()
    model, state = start(world)
    before = State(
        **{k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in vars(state).items()}
    )
    close_round(world, model, state, cohort(), replies(1.0, 1.0, 1.0, state=state), 0.0)
    assert torch.equal(state.params, before.params)
    assert state.round == 0


@pytest.mark.parametrize(
    ("error", "raised", "flags"),
    [
        (PreconditionError("n too small"), None, ("precondition_broken",)),
        (ValueError("odd"), RunError, None),
    ],
)
def test_a_rule_that_refuses_its_cohort_leaves_the_model_and_one_that_breaks_ends_the_run(
    monkeypatch, error, raised, flags
):
    def broken(updates, view):
        raise error

    monkeypatch.setattr(rounds, "pipeline", lambda scenario: broken)
    world = federation()
    model, state = start(world)
    rows = replies(1.0, 1.0, 1.0, state=state)
    if raised:
        with pytest.raises(raised, match="round 1: server: the rule raised ValueError: odd"):
            close_round(world, model, state, cohort(), rows, 0.0)
        return
    after, record = close_round(world, model, state, cohort(), rows, 0.0)
    assert torch.equal(after.params, state.params)
    assert record.flags == flags
    assert [c["weight"] for c in record.clients] == [None, None, None]


def test_an_attack_that_returns_other_rows_ends_the_run(tmp_path):
    (tmp_path / "mine.py").write_text("def few(view):\n    return view.own[:0]\n")
    world = federation()
    attack = {"name": str(tmp_path / "mine.py:few")}
    tree = {**world.scenario.resolved(), "adversary": {"clients": [2], "attack": attack}}
    world = replace(world, scenario=Scenario.model_validate(tree))
    model, state = start(world)
    with pytest.raises(RunError, match=r"round 1: adversary\.attack raised .* must return rows"):
        craft(world, model, state, cohort({2}), replies(1.0, 1.0, 1.0, state=state))


def test_a_malicious_majority_sends_its_own_rows_where_the_attack_has_no_answer():
    world = federation(adversary={"clients": [0, 1], "attack": {"name": "little_is_enough"}})
    model, state = start(world)
    rows = replies(1.0, 2.0, 3.0, state=state)
    both = Cohort(1, (0, 1, 2), frozenset({0, 1}), frozenset({0, 1}))
    sent, _ = craft(world, model, state, both, rows)
    assert all(torch.equal(s.update, row.update) for s, row in zip(sent, rows, strict=True))
