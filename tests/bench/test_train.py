"""The benchmark compares like with like; how fast either side is, no test asserts."""

import json

import pytest
import torch
from rich.console import Console

from fedsim.bench import train, turns, workload
from fedsim.simulation import training
from fedsim.simulation.evaluation import predictor
from fedsim.tensors import flatten_buffers, flatten_params
from fedsim.types import to_float

TINY = {"clients": 3, "batches": 2, "batch_size": 8}


@pytest.fixture(scope="module")
def federation():
    return workload.make_federation(*TINY.values())


@pytest.fixture(scope="module")
def measured():
    torch.set_num_threads(2)
    try:
        yield train.measure(**TINY, num_test=20, repeats=1), torch.get_num_threads()
    finally:
        torch.set_num_threads(1)


def play_round(federation):
    rounds = turns.Rounds(federation)
    try:
        assert rounds.turn() > 0
    finally:
        rounds.close()
    state, record = rounds.last
    return state.params, record


def test_measure_returns_its_keys(measured):
    numbers, _ = measured
    assert list(numbers) == list(train.Measurement.__annotations__)
    assert (numbers["clients"], numbers["steps"], numbers["evaluated"]) == (3, 6, 20)
    assert (numbers["threads"], numbers["device"]) == (1, "cpu")
    assert numbers["gflops"] > 0
    assert json.loads(json.dumps(numbers)) == numbers


def test_every_figure_has_its_floor(measured):
    numbers, _ = measured
    for figure in numbers["figures"]:
        assert figure["measured_s"] > 0
        assert figure["ratio"] == pytest.approx(figure["measured_s"] / figure["floor_s"])
    assert len(numbers["figures"]) == 5
    assert numbers["ratio"] == numbers["figures"][0]["ratio"]


def test_measuring_leaves_the_threads_as_they_were(measured):
    assert measured[1] == 2


def test_both_sides_reach_the_same_parameters(federation):
    params, record = play_round(federation)
    bare = workload.bare_round(federation, to_float(federation.data.train.images))
    assert record.round["num_clients"] == 3
    assert record.round["num_failed"] == 0
    start = torch.cat([p.detach().flatten() for p in federation.build_model().parameters()])
    assert (bare - start).norm() > 0.01
    torch.testing.assert_close(params, bare, rtol=0, atol=1e-6)


def test_both_sides_take_the_same_steps(federation, monkeypatch):
    ours, theirs = [], []
    our_step, their_step = training.SGD.step, torch.optim.SGD.step

    def counted(self, lr):
        ours.append(lr)
        our_step(self, lr)

    def counted_too(self, *arguments, **keywords):
        theirs.append(self.param_groups[0]["lr"])
        return their_step(self, *arguments, **keywords)

    monkeypatch.setattr(training.SGD, "step", counted)
    monkeypatch.setattr(torch.optim.SGD, "step", counted_too)
    play_round(federation)
    workload.bare_round(federation, to_float(federation.data.train.images))
    assert len(ours) == 6
    assert theirs == ours


def test_both_sides_classify_the_same(federation):
    model, images = federation.build_model(), federation.data.test.images
    ours = predictor(model, flatten_buffers(model))(flatten_params(model), images)
    assert torch.equal(workload.bare_forward(model, to_float(images)), ours)


def test_the_arithmetic_of_a_round_is_counted_by_hand(federation):
    """LeNet-5's products for an image: twice those of a forward again for the backward."""
    conv1, conv2 = 28 * 28 * 6 * 25, 10 * 10 * 16 * 6 * 25
    dense = 400 * 120 + 120 * 84 + 84 * 10
    forward = 2 * (conv1 + conv2 + dense)
    backward = 2 * forward - 2 * conv1  # nobody needs the gradient of the images
    images = to_float(federation.data.train.images)
    counted = workload.round_flops(federation, images)
    assert counted == 6 * 8 * (forward + backward) + 10 * forward


def test_table_shows_every_figure(measured):
    console = Console(width=140)
    with console.capture() as captured:
        console.print(train.table(measured[0]))
    rows = [[cell.strip() for cell in line.split("│")] for line in captured.get().splitlines()]
    figure = measured[0]["figures"][0]
    seconds = f"{figure['measured_s']:.3f}", f"{figure['floor_s']:.3f}"
    shown = ["", "round, 1 worker", seconds[0], "bare loop, 1 thread", seconds[1]]
    assert [*shown, f"{figure['ratio']:.2f}", ""] in rows
