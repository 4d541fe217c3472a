"""The benchmark compares like with like; how fast either side is, no test asserts."""

import json

import pytest
import torch
from rich.console import Console

from fedsim.bench import train
from fedsim.types import to_float

TINY = {"clients": 3, "batches": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def federation():
    return train.make_federation(*TINY.values())


def test_measure_returns_its_keys():
    measured = train.measure(**TINY, repeats=1)
    assert list(measured) == list(train.Measurement.__annotations__)
    assert (measured["clients"], measured["steps"]) == (3, 6)
    assert (measured["threads"], measured["device"]) == (1, "cpu")
    assert measured["ratio"] == pytest.approx(measured["measured_s"] / measured["floor_s"])
    assert json.loads(json.dumps(measured)) == measured


def test_both_sides_reach_the_same_parameters(federation):
    params, record = train.play_round(federation)
    bare = train.bare_round(federation, to_float(federation.data.train.images))
    assert record.round["num_clients"] == 3
    assert record.round["num_failed"] == 0
    start = torch.cat([p.detach().flatten() for p in federation.build_model().parameters()])
    assert (bare - start).norm() > 0.01
    torch.testing.assert_close(params, bare, rtol=0, atol=1e-6)


def test_both_sides_take_the_same_steps(federation, monkeypatch):
    calls, step = [], torch.optim.SGD.step

    def counted(self, *arguments, **keywords):
        calls.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.SGD, "step", counted)
    train.play_round(federation)
    played = list(calls)
    train.bare_round(federation, to_float(federation.data.train.images))
    assert len(played) == 6
    assert calls == played * 2


def test_measuring_leaves_the_threads_as_they_were():
    torch.set_num_threads(2)
    try:
        train.measure(**TINY, repeats=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_table_shows_both_sides():
    measured = train.Measurement(
        measured_s=1.2, floor_s=1.0, ratio=1.2, clients=50, steps=250, threads=1, device="cpu"
    )
    console = Console(width=80)
    with console.capture() as captured:
        console.print(train.table(measured))
    rows = [[cell.strip() for cell in line.split("│")] for line in captured.get().splitlines()]
    assert rows[0] == ["50 clients, 250 SGD steps, 1 thread, cpu"]
    assert ["", "fedsim", "1.200", "24.0", "1.20", ""] in rows
    assert ["", "bare PyTorch", "1.000", "20.0", "1.00", ""] in rows
