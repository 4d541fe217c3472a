"""The benchmark of engines runs each that is there, and says why it skips one."""

import gc
import json

import pytest
from rich.console import Console

from fedsim.bench import engines


@pytest.fixture(scope="module")
def rows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "find_spec", lambda name: None)
        return list(engines.measure(cells=[("lenet5", 2)], workers=2))


def check_measured(row):
    assert row["round_s"] > 0
    assert row["peak_bytes"] > 1e7
    assert row["startup_s"] >= 0
    assert row["ratio"] == pytest.approx(row["round_s"] / row["floor_s"])
    assert row["clients_per_s"] == pytest.approx(row["clients"] / row["round_s"])
    added = row["round_s"] - row["floor_s"]
    assert row["overhead_ms"] == pytest.approx(1000 * added / row["clients"])


def test_every_engine_has_a_row(rows):
    assert [row["engine"] for row in rows] == ["sequential", "vectorised", "processes", "ray"]
    assert {row["parameters"] for row in rows} == {61_706}
    assert all(list(row) == list(engines.Row.__annotations__) for row in rows)
    whole = engines.measurement(rows)
    assert json.loads(json.dumps(whole)) == whole


def test_what_runs_is_measured_against_its_floor(rows):
    done = {row["engine"]: row for row in rows if row["skipped"] is None}
    assert {"sequential", "processes"} <= set(done)
    for row in done.values():
        check_measured(row)
    assert done["processes"]["workers"] == 2
    assert done["processes"]["floor_s"] == done["sequential"]["round_s"] / 2
    assert done["processes"]["peak_bytes"] > done["sequential"]["peak_bytes"]


def test_what_is_not_there_is_said(rows):
    assert rows[3]["skipped"] == "the package ray is not installed"
    assert rows[3]["round_s"] is None


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray leaves files and processes to the
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # collector
def test_ray_is_measured_against_worker_processes():
    ray = pytest.importorskip("ray")
    rows = {row["engine"]: row for row in engines.measure(cells=[("lenet5", 2)], workers=1)}
    check_measured(rows["ray"])
    assert rows["ray"]["floor_s"] == rows["processes"]["round_s"]
    assert not ray.is_initialized()
    gc.collect()


def test_what_does_not_fit_is_skipped(monkeypatch):
    monkeypatch.setattr(engines, "STACKS", 10**9)
    rows = list(engines.measure(cells=[("lenet5", 2)], workers=2))
    assert [row["skipped"] for row in rows if row["engine"] != "vectorised"] == ["memory"] * 3


def test_table_shows_every_row(rows):
    console = Console(width=200)
    with console.capture() as captured:
        console.print(engines.table(engines.measurement(rows)))
    shown = captured.get()
    assert "the package ray is not installed" in shown
    assert f"{rows[0]['ratio']:.2f}" in shown
