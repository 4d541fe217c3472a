"""Runs and sweeps as a script or a notebook sees them."""

import pickle

import pytest

from fedsim.errors import InputError
from fedsim.results import Run, RunFolder, Sweep, load, write_sweep
from tests.results.result_records import SCENARIO, write_run


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    write_run(tmp_path / "s-1", accuracy=0.9)
    write_run(tmp_path / "s-3", accuracy=0.7)
    statuses = ["finished", "failed", "finished", "unfinished"]
    cells = [
        {
            "labels": {"seed": str(n), "server.aggregator": "<krum>"},
            "run": f"s-{n}",
            "hash": str(n),
            "status": status,
            "error": "RunError: out of memory" if status == "failed" else None,
        }
        for n, status in enumerate(statuses, start=1)
    ]
    tree = {**SCENARIO, "matrix": {"seed": [1, 2, 3, 4]}}
    return write_sweep(tmp_path / "s-sweep-ab", name="s", hash="ab", scenario=tree, cells=cells)


def test_a_run(finished):
    run = load(str(finished.path))
    assert isinstance(run, Run)
    assert run.path == finished.path
    assert run.summary["accuracy"] == 0.9
    assert run.scenario == SCENARIO
    assert run.label == "hand"
    assert [record["round"] for record in run.rounds] == [0, 1, 2]
    assert run.rounds[1]["seconds.train"] == 0.1
    assert run.clients == finished.clients()
    flat = [value for record in run.rounds + run.clients for value in record.values()]
    assert not any(isinstance(value, dict | list) for value in flat)


def test_a_run_in_a_notebook(finished):
    run = load(finished.path)
    assert repr(run) == (
        "Run(run: rounds 2, accuracy 0.900, attack success rate –, robust accuracy –, flags none)"
    )
    html = run._repr_html_()
    assert "<td>0.900</td>" in html
    assert html.startswith("<table>")


def test_a_run_survives_another_process(finished):
    run = load(finished.path)
    again = pickle.loads(pickle.dumps(run))
    assert again == run
    assert again.summary == run.summary
    assert hash(again) == hash(run)


def test_an_unfinished_run(unfinished):
    with pytest.raises(InputError, match=r"has not finished\. Continue it with: fedsim resume"):
        load(unfinished.path)
    run = Run(unfinished.path)
    assert len(run.rounds) == 3


def test_labels_name_the_run():
    labels = {"server.aggregator": "krum", "seed": "0"}
    assert Run("x", labels).label == "aggregator=krum, seed=0"
    same = {"server.lr": "1", "clients.training.lr": "2"}
    assert Run("x", same).label == "server.lr=1, clients.training.lr=2"


def test_folders_of_another_kind(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"neither scenario\.yaml nor sweep\.json"):
        load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "file")


def test_a_sweep(sweep):
    found = load(sweep.path)
    assert isinstance(found, Sweep)
    assert found.name == "s"
    assert found.scenario["matrix"] == {"seed": [1, 2, 3, 4]}
    assert found.record["fedsim"] == "0.1.0"
    assert [run.path.name for run in found.runs] == ["s-1", "s-3"]
    assert found.runs[1].labels["seed"] == "3"
    assert [cell["accuracy"] for cell in found.cells] == [0.9, None, 0.7, None]
    assert found.cells[1] == {
        "seed": "2",
        "server.aggregator": "<krum>",
        "run": "s-2",
        "status": "failed",
        "error": "RunError: out of memory",
        "accuracy": None,
        "attack_success_rate": None,
        "robust_accuracy": None,
        "accuracy_drop": None,
        "detection_precision": None,
        "detection_recall": None,
        "flags": "",
    }


def test_a_sweep_in_a_notebook(sweep):
    assert repr(sweep) == "Sweep(s-sweep-ab: 2 of 4 runs finished)"
    html = sweep._repr_html_()
    assert "&lt;krum&gt;" in html
    assert "<krum>" not in html
    assert html.count("<tr>") == 5
    assert "<td>failed</td>" in html


def test_a_finished_cell_that_is_gone(sweep):
    (RunFolder(sweep.runs[0].path).path / "scenario.yaml").unlink()
    with pytest.raises(InputError, match="s-1: is not the folder of a run"):
        _ = load(sweep.path).cells


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"cells": 3}',
        '{"cells": [3]}',
        '{"cells": [{"labels": {}, "run": "x", "status": "odd"}]}',
        '{"cells": [{"labels": {}, "status": "failed"}]}',
    ],
)
def test_a_damaged_sweep(sweep, text):
    (sweep.path / "sweep.json").write_text(text)
    with pytest.raises(InputError) as error:
        load(sweep.path)
    assert str(error.value).startswith(str(sweep.path / "sweep.json"))


def test_a_wrong_cell_is_not_written(tmp_path):
    cell = {"labels": {}, "run": "x", "hash": "y", "status": "done", "error": None}
    with pytest.raises(
        InputError, match=r"cells\.0\.status: must be 'finished', 'failed' or 'unfinished'"
    ):
        write_sweep(tmp_path / "s", name="s", hash="h", scenario={}, cells=[cell])
    assert not (tmp_path / "s").exists()


def test_figures_are_drawn_by_the_reports(sweep, monkeypatch):
    import fedsim.reporting

    monkeypatch.setattr(fedsim.reporting, "figure", lambda drawn: drawn, raising=False)
    assert sweep.runs[0].figure() is sweep.runs[0]
    assert sweep.figure() == sweep.runs
