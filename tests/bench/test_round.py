"""The parts of a run add up to the whole of it."""

import json

import pytest
from rich.console import Console

from fedsim.bench import round
from fedsim.flower import client_app
from fedsim.simulation import visit


@pytest.fixture(scope="module")
def measured():
    clients = {**round.SCENARIO["clients"], "per_round": 6}
    return round.measure(repeats=1, rounds=2, clients=clients, clean_twin=False, adversary=None)


def test_measure_returns_its_keys(measured):
    assert list(measured) == list(round.Measurement.__annotations__)
    assert (measured["rounds"], measured["clients"]) == (2, 6)
    assert json.loads(json.dumps(measured)) == measured


def test_the_parts_are_the_whole(measured):
    seconds = measured["seconds"]
    assert tuple(seconds) == round.PARTS
    assert all(part > 0 for part in seconds.values())
    assert sum(seconds.values()) == pytest.approx(measured["measured_s"])
    assert measured["floor_s"] == pytest.approx(seconds["train"] + seconds["evaluate"])
    assert measured["ratio"] == pytest.approx(1 / measured["share"])


def test_nothing_stays_clocked(measured):
    assert client_app.visit is visit


def test_clocked_counts_calls_that_raise():
    class Owner:
        @staticmethod
        def fail():
            raise ValueError

    with round.clocked(Owner, "fail") as seconds, pytest.raises(ValueError):  # noqa: PT011
        Owner.fail()
    assert len(seconds) == 1


def test_table_shows_every_part(measured):
    console = Console(width=100)
    with console.capture() as captured:
        console.print(round.table(measured))
    assert all(part in captured.get() for part in round.PARTS)
