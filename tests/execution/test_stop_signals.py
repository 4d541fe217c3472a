"""Ctrl-C and SIGTERM: one line, exit 130, nothing lost, nobody left running."""

import os
import signal
import uuid
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fedsim import api
from fedsim.cli import main
from tests.execution import test_kill_and_resume as kills
from tests.execution.stopped_runs import SCENARIOS, StopAt, assert_equal
from tests.execution.test_execution import write_data

TREE = {**SCENARIOS["auror-adam-redrawn"], "rounds": 8}


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    Path("s.yaml").write_text(yaml.safe_dump(TREE))


def finished(output):
    [folder] = Path(output).glob("stopped-*/summary.json")
    return folder.parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order(monkeypatch, number):
    before = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    kept = signal.signal(number, before)  # whoever started the tests may have it ignored
    execute = api.execute

    def stopped(*arguments, progress, **options):
        stop = StopAt(3, lambda: os.kill(os.getpid(), number))
        return execute(*arguments, progress=stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr(api, "execute", stopped)
        told = CliRunner().invoke(main, ["run", "s.yaml", "-q"])
    assert told.exit_code == 130
    assert told.stderr == "fedsim run: interrupted. Go on with: fedsim run s.yaml -q --resume\n"
    assert signal.signal(number, kept) == before
    [folder] = Path("runs").iterdir()
    rounds = (folder / "rounds.jsonl").read_bytes().count(b"\n")
    assert rounds == 4
    assert "stopped by KeyboardInterrupt" in (folder / "run.log").read_text()
    assert CliRunner().invoke(main, ["run", "s.yaml", "-q", "--resume"]).exit_code == 0
    assert CliRunner().invoke(main, ["run", "s.yaml", "-q", "--output", "whole"]).exit_code == 0
    assert_equal(finished("runs"), finished("whole"))


def alive(mark):
    """Processes of this machine that carry `mark` in their environment, but for dead ones."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_marked = mark.encode() in (folder / "environ").read_bytes()
            is_dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            continue
        if is_marked and not is_dead:
            found.append(int(folder.name))
    return found


def wait_until_gone(mark, seconds=30):
    for _ in range(10 * seconds):
        if not alive(mark):
            return
        kills.time.sleep(0.1)
    left = alive(mark)
    for number in left:
        os.kill(number, signal.SIGKILL)
    raise AssertionError(f"{len(left)} processes were left")


WAYS = {
    "worker processes": ["--set", "engine.workers=2"],
    "ray": ["--engine", "ray", "--set", "engine.workers=2"],
    "jobs": ["--set", "matrix={seed: [0, 1, 2]}", "--jobs", "2"],
    "jobs with worker processes": [
        "--set", "matrix={seed: [0, 1, 2]}", "--jobs", "2", "--set", "engine.workers=2",
    ],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_left_running(monkeypatch, way, number):
    mark = f"FEDSIM_TEST_{uuid.uuid4().hex}"
    monkeypatch.setenv(mark, "1")
    command = ["fedsim", "run", "s.yaml", "-q", "--set", "rounds=300", *WAYS[way]]
    process = kills.start(*command, stderr=kills.subprocess.PIPE)
    kills.wait_for_line(process, "runs/*/rounds.jsonl", 4)
    assert len(alive(mark)) > 1
    process.send_signal(number)
    told = process.communicate(timeout=120)[1]
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert told.startswith("fedsim run: interrupted. Go on with: fedsim run s.yaml -q")
        assert told.count("\n") == 1
    wait_until_gone(mark)
    for folder in Path("runs").glob("*/checkpoint.pt"):
        assert not (folder.parent / "summary.json").exists()
