"""Every scenario in the repository is sound, says what it asks, and the small ones run."""

import os
from functools import cache
from pathlib import Path

import pytest

from fedsim.api import execute, question_of
from fedsim.cells import Where
from fedsim.datasets import default_source
from fedsim.errors import ScenarioError
from fedsim.scenario import load
from fedsim.simulation import prepare_cell

FOLDER = Path(__file__).parents[2] / "scenarios"
SCENARIOS = sorted(FOLDER.rglob("*.yaml"))
PAPERS = [path for path in SCENARIOS if path.parent.name == "papers"]


cells = cache(load)
"""A scenario's cells; those of the largest suite take seconds to make."""


def _id(path: Path) -> str:
    return str(path.relative_to(FOLDER))


@pytest.mark.parametrize("path", SCENARIOS, ids=_id)
def test_it_loads_and_begins_with_its_question(path):
    assert cells(path)
    assert len(question_of(path)) > 20


@pytest.mark.parametrize("path", PAPERS, ids=_id)
def test_a_paper_scenario_is_one_curve_and_tells_what_was_measured(path):
    assert len(cells(path)) == 1
    header = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(line.startswith("# Measured") for line in header)


@pytest.mark.parametrize("path", SCENARIOS, ids=_id)
def test_it_fits_its_data(path, monkeypatch):
    (cell, *_) = cells(path)
    if cell.scenario.data.dataset.name != "digits" and not os.environ.get("FEDSIM_DATA"):
        pytest.skip("FEDSIM_DATA is not set")
    prepare_cell(cell, default_source())


def test_a_paper_scenario_without_its_data_says_where_they_belong(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    (cell,) = load(FOLDER / "papers" / "auror_mnist.yaml")
    with pytest.raises(
        ScenarioError, match=r"auror_mnist\.yaml:\d+:\d+: data\.dataset: mnist is not in "
    ):
        prepare_cell(cell, default_source())


def test_quickstart_tells_its_story(tmp_path):
    """The attack works against the mean, clipping stops it, and costs little clean accuracy."""
    outcome = execute(FOLDER / "quickstart.yaml", output=tmp_path)
    assert not outcome.failures
    scores = {next(iter(run.labels.values())): run.summary for run in outcome.sweep.runs}
    mean, clip = scores["mean"], scores["clip → mean"]
    assert mean["attack_success_rate"] > 0.8
    assert mean["clean_twin"]["attack_success_rate"] < 0.1
    assert clip["attack_success_rate"] < 0.1
    assert mean["clean_twin"]["accuracy"] - clip["clean_twin"]["accuracy"] < 0.05
    assert outcome.report.stat().st_size < 1_000_000


def test_auror_finds_the_label_flippers_and_nobody_else(tmp_path):
    outcome = execute(FOLDER / "label_flip.yaml", output=tmp_path)
    (run,) = outcome.runs
    last = [client for client in run.clients if client["round"] == run.summary["rounds"]]
    assert [c["malicious"] for c in last] == [c["weight"] == 0 for c in last]
    assert run.summary["attack_success_rate"] < 0.05


def test_cells_at_a_time_give_the_same_numbers_and_share_their_twin(tmp_path):
    """Two attacks under one rule have one clean twin, whoever makes it."""
    changes = [
        "rounds=3",
        "adversary.schedule={}",
        "matrix={adversary.attack: [[], {name: boost, factor: 2.0}]}",
    ]
    in_turn = execute(FOLDER / "quickstart.yaml", changes, output=tmp_path / "a")
    at_once = execute(
        FOLDER / "quickstart.yaml", changes, output=tmp_path / "b", where=Where(jobs=2)
    )
    digests = [
        [run.summary["parameters_sha256"] for run in outcome.runs] for outcome in (in_turn, at_once)
    ]
    assert digests[0] == digests[1]
    twins = {
        run.summary["clean_twin"]["hash"] for outcome in (in_turn, at_once) for run in outcome.runs
    }
    assert len(twins) == 1
    assert len(list((tmp_path / "b").iterdir())) == 4  # two cells, their twin, the sweep
