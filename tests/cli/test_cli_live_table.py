"""The table of a sweep on a terminal, as it is seen."""

import io
import json

import pytest
from rich.console import Console

from fedsim.cli.live_table import LiveTable
from fedsim.cli.progress import ConsoleProgress
from fedsim.progress import Planned, last_record


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def planned(tmp_path, count, twin=False):
    folders = [tmp_path / f"a-{k}" for k in range(count)]
    twins = [tmp_path / f"twin-{k}" if twin else None for k in range(count)]
    return [
        Planned({"seed": str(k)}, 10, folder, other)
        for k, (folder, other) in enumerate(zip(folders, twins, strict=True))
    ]


def record(number, accuracy=0.5, success=None):
    return {"round": number, "accuracy": accuracy, "attack_success_rate": success}


def write(folder, *records, rest=""):
    folder.mkdir(exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in records)
    (folder / "rounds.jsonl").write_text(lines + rest)


def seen(table, height=24, width=90):
    """The lines on the screen."""
    console = Console(
        record=True, width=width, height=height, force_terminal=True, file=io.StringIO()
    )
    console.print(table)
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def test_every_state_is_shown_in_the_order_of_the_matrix(tmp_path, clock):
    table = LiveTable(planned(tmp_path, 5), clock)
    table.cell_started(0, {"seed": "0"}, 10, 10)
    table.cell_finished(0, {"accuracy": 0.75, "attack_success_rate": None}, True)
    table.cell_started(1, {"seed": "1"}, 10, 0)
    clock.now = 20
    table.cell_finished(1, {"accuracy": 0.5, "attack_success_rate": 0.125}, False)
    table.cell_started(2, {"seed": "2"}, 10, 0)
    table.cell_finished(2, None, False)
    table.cell_started(3, {"seed": "3"}, 10, 4)
    table.round_done(record(4, 0.25))
    clock.now = 26
    table.round_done(record(6, None))
    assert seen(table, width=100) == [
        "5 cells: 1 running, 1 failed, 1 waiting, 1 finished, 1 already there, 0:00:26, 0:00:31 left",
        "cell state round accuracy attack success left",
        "─" * 72,
        "seed=0 already there 10/10 75.0%",
        "seed=1 finished 10/10 50.0% 12.5%",
        "seed=2 failed 0/10",
        "seed=3 running 0:00:06 6/10 25.0% 0:00:12",
        "seed=4 waiting",
    ]


def test_what_runs_in_other_processes_is_seen_by_its_records(tmp_path, clock):
    cells = planned(tmp_path, 2)
    write(cells[0].folder, record(0), record(1), record(2))
    table = LiveTable(cells, clock)
    table.cell_started(0, {"seed": "0"}, 10, 2)
    table.cell_started(1, {"seed": "1"}, 10, 0)
    clock.now = 3
    assert [line for line in seen(table) if "running" in line][1:] == [
        "seed=0 running 0:00:03 2/10",
        "seed=1 running 0:00:03 0/10",
    ]
    write(cells[0].folder, record(2), record(3, 0.5), rest='{"round": 4')
    write(cells[1].folder, record(0, 0.1), record(1, 0.2, 0.3))
    assert [line for line in seen(table) if "running" in line][1:] == [
        "seed=0 running 0:00:03 3/10 50.0% 0:00:21",
        "seed=1 running 0:00:03 1/10 20.0% 30.0% 0:00:27",
    ]


def test_a_clean_twin_is_told_from_its_cell(tmp_path, clock):
    cells = planned(tmp_path, 1, twin=True)
    table = LiveTable(cells, clock)
    table.cell_started(0, {"seed": "0", "run": "clean twin"}, 10, 0)
    write(cells[0].twin, record(0), record(5))
    clock.now = 5
    assert seen(table)[-1] == "seed=0 clean twin 0:00:05 5/10 50.0% 0:00:15"
    (cells[0].twin / "summary.json").write_text("{}")
    assert seen(table)[-1] == "seed=0 waiting"


@pytest.mark.parametrize("height", [8, 12, 20])
def test_more_cells_than_lines_show_what_runs_and_what_failed(tmp_path, clock, height):
    table = LiveTable(planned(tmp_path, 100), clock)
    for index in range(40):
        table.cell_started(index, {"seed": str(index)}, 10, 0)
        table.cell_finished(index, None if index == 7 else {"accuracy": 0.5}, False)
    for index in (40, 41):
        table.cell_started(index, {"seed": str(index)}, 10, 0)
    lines = seen(table, height)
    assert len(lines) == height
    assert (
        lines[0] == "100 cells: 2 running, 1 failed, 58 waiting, 39 finished, 0:00:00, 0:00:00 left"
    )
    assert [line.split()[:2] for line in lines[3:6]] == [
        ["seed=40", "running"], ["seed=41", "running"], ["seed=7", "failed"],
    ]  # fmt: skip
    waiting = 58 - (height - 7)
    assert lines[-1] == f"… and {100 - height + 4} more: {waiting} waiting, 39 finished"


def test_a_narrow_screen_wraps_no_line(tmp_path, clock):
    cells = [Planned({"rule": "[bold]" + "x" * 90}, 10, tmp_path, None)]
    lines = seen(LiveTable(cells, clock), width=50)
    assert len(lines) == 4
    assert lines[-1].startswith("rule=[bold]xx")


def test_a_terminal_gets_the_table_in_place_of_the_bar(tmp_path, clock, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("fedsim.cli.progress.is_live", lambda: True)
    with ConsoleProgress(clock=clock) as progress:
        progress.cells_planned(planned(tmp_path, 2))
        progress.cell_started(0, 2, {"seed": "0"}, 10, 0)
        progress.round_done(record(0))
        progress.message("[bold]kept as it is")
        progress.cell_finished(0, None, reused=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "kept as it is" in captured.err
    assert "2 cells: 1 failed, 1 waiting" in captured.err


def test_elsewhere_a_line_is_told_of_the_cell_that_is_done(tmp_path, clock, capsys):
    progress = ConsoleProgress(clock=clock)
    progress.cells_planned(planned(tmp_path, 2))
    progress.cell_started(0, 2, {"seed": "0"}, 10, 0)
    progress.cell_started(1, 2, {"seed": "1"}, 10, 0)
    clock.now = 30
    progress.cell_finished(0, {"accuracy": 0.5, "attack_success_rate": None}, reused=False)
    told = capsys.readouterr().err
    assert told == "cell 1/2 (seed=0), round 10/10, accuracy 50.0%, 0:00:30 left\n"


def test_the_last_record_is_the_last_whole_line(tmp_path):
    assert last_record(tmp_path) is None
    (tmp_path / "rounds.jsonl").write_text("")
    assert last_record(tmp_path) is None
    write(tmp_path, *(record(k) for k in range(200)), rest='{"round"')
    assert last_record(tmp_path) == record(199)
    write(tmp_path, rest="[1]\n")
    assert last_record(tmp_path) is None
