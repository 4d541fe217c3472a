"""Contestants take turns; what goes wrong in one is told, and nothing is left of any."""

import threading

import psutil
import pytest
import torch

from fedsim.bench import turns
from fedsim.bench.memory import Peak, tree_bytes
from fedsim.bench.workload import make_federation
from fedsim.errors import RunError


def test_all_take_a_turn_before_any_takes_the_next():
    order = []
    contestants = {name: turns.Action(lambda name=name: order.append(name)) for name in "ab"}
    times = turns.measure_in_turn(contestants, repeats=2)
    assert order == list("ababab")
    assert list(times) == ["a", "b"]


def test_the_first_turn_is_start_up():
    assert turns._timing([5.0, 1.0, 3.0, 1.0]) == (1.0, 4.0)
    assert turns._timing([1.0, 2.0]) == (2.0, 0.0)


def test_rounds_go_on_from_one_another_and_end_when_they_are_closed():
    before = threading.active_count()
    rounds = turns.Rounds(make_federation(2, 1, 4))
    rounds.turn()
    first = rounds.last[0]
    rounds.turn()
    assert [first.round, rounds.last[0].round] == [1, 2]
    assert not torch.equal(first.params, rounds.last[0].params)
    rounds.close()
    assert threading.active_count() == before


def test_rounds_that_never_began_can_be_closed():
    turns.Rounds(make_federation(1, 1, 1)).close()


def test_a_client_that_fails_is_not_measured(monkeypatch):
    def visit(*_):
        raise ValueError("no")

    monkeypatch.setattr("fedsim.flower.client_app.visit", visit)
    rounds = turns.Rounds(make_federation(1, 1, 1))
    with pytest.raises(RunError):
        rounds.turn()
    rounds.close()


def test_the_peak_is_the_most_that_was_ever_held():
    peak = Peak()
    peak.look()
    before = peak.bytes
    with peak.watching():
        held = torch.ones(10_000_000)
    assert peak.bytes > before + 30_000_000
    del held
    after = peak.bytes
    peak.look()
    assert peak.bytes == after


def test_children_count(monkeypatch):
    alone = tree_bytes()
    assert alone > 0
    own = psutil.Process()
    monkeypatch.setattr(psutil.Process, "children", lambda *_, **__: [own])
    assert tree_bytes() > 1.5 * alone
