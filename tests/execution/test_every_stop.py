"""A run that is stopped after every single round, and read from the disk each time."""

from dataclasses import replace

import pytest
from torch.nn import Linear

from fedsim import execution
from fedsim.results import Run
from fedsim.results.differences import number_differences
from fedsim.simulation.rounds import initial_state
from tests.execution.stopped_runs import SCENARIOS, StopAt, assert_equal, play
from tests.execution.test_execution import write_data


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    write_data(tmp_path)


@pytest.mark.parametrize("name", SCENARIOS)
def test_stops_after_every_round_change_nothing(tmp_path, name):
    tree = SCENARIOS[name]
    whole = play(tree, tmp_path / "whole")
    for round_ in range(tree["rounds"] + 1):
        with pytest.raises(KeyboardInterrupt):
            play(tree, tmp_path / "broken", progress=StopAt(round_), resume=True)
    broken = play(tree, tmp_path / "broken", resume=True)
    assert_equal(broken, whole)


REMEMBERED = {
    "rule": "auror-adam-redrawn",
    "optimizer": "auror-adam-redrawn",
    "previous_params": "fldetector-free_rider",
    "attack": "centered_clipping-momentum-quantile_clip-trojan-mimic",
    "pattern": "foolsgold-yogi-a3fl-each",
}


@pytest.mark.parametrize("field", REMEMBERED)
def test_what_a_checkpoint_would_lose_is_noticed(tmp_path, monkeypatch, field):
    """Each part of the state changes a number in some scenario above: no test passes by chance."""
    tree = {**SCENARIOS[REMEMBERED[field]], "clean_twin": False}
    whole = play(tree, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        play(tree, tmp_path / "broken", progress=StopAt(4 if field == "rule" else 2), resume=True)
    restore = execution._restore

    def forgetful(checkpoint, device):
        state, tally = restore(checkpoint, device)
        empty = getattr(initial_state(Linear(1, 1)), field)
        return replace(state, **{field: empty}), tally

    monkeypatch.setattr(execution, "_restore", forgetful)
    broken = play(tree, tmp_path / "broken", resume=True)
    assert number_differences(Run(whole), Run(broken))
