"""A sweep that failed or was killed, gone on with: what was finished stays, the rest is played."""

import random
import shutil
import signal
import time
import uuid
from pathlib import Path

import pytest

from fedsim.api import execute
from fedsim.cells import Where
from fedsim.errors import InputError
from tests.execution import test_kill_and_resume as kills
from tests.execution.sweeps import results, write_sweep
from tests.execution.test_stop_signals import wait_until_gone

MOODS = (0, 1, 2, 3)
ROUNDS = 15
WAYS = {"in turn": [], "jobs": ["--jobs", "2"]}


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedsim.api.report", lambda *_: None)  # it would take most of the time


def marks(output):
    """The identity of each finished cell's summary and records."""
    return {
        path: ((found := path.stat()).st_ino, found.st_mtime_ns)
        for summary in Path(output).glob("*/summary.json")
        for path in (summary, summary.with_name("rounds.jsonl"))
    }


@pytest.mark.parametrize(
    ("where", "how", "reason"),
    [
        (Where(), "raise", "in a mood"),
        (Where(jobs=2), "die", "the process that ran it died. Go on with: --resume"),
    ],
)
def test_a_failed_cell_is_retried_and_the_finished_one_stays(tmp_path, where, how, reason):
    output, file = Path("runs"), tmp_path / "break1"
    execute(write_sweep(tmp_path, moods=[0]), output=output)
    kept = marks(output)
    source = write_sweep(tmp_path, moods=[0, 1])
    file.write_text(how)
    first = execute(source, output=output, where=where)
    [(labels, text)] = first.failures
    assert labels == {"server.aggregator": "moody(mood=1)"}
    assert reason in text
    with pytest.raises(InputError, match="--resume"):
        execute(source, output=output, where=where)
    file.unlink()
    assert not execute(source, output=output, resume=True).failures
    assert len(kept) == 2
    assert kept.items() <= marks(output).items()
    execute(source, output=Path("whole"))
    for sweep in output.glob("*-sweep-*"):
        if not (Path("whole") / sweep.name).exists():
            shutil.rmtree(sweep)
    assert results(output) == results("whole")


def table(output):
    """The table of `fedsim compare` as CSV."""
    [sweep] = Path(output).glob("*-sweep-*")
    assert kills.fedsim("compare", sweep, "-o", "x.csv").exit_code == 0
    return Path("x.csv").read_text()


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The folder of a scenario, and the results and the table of a sweep that nobody touched."""
    folder = tmp_path_factory.mktemp("whole")
    source = write_sweep(folder, ROUNDS, MOODS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEDSIM_DATA", str(folder))
        patch.chdir(folder)
        patch.setattr("fedsim.api.report", lambda *_: None)
        execute(source, output=Path("whole"))
        return folder, (results("whole"), table("whole"))


def unfinished_records(output):
    """The whole lines of each cell that has begun and not finished."""
    return {
        path: [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
        for path in Path(output).glob("*/rounds.jsonl")
        if not path.with_name("summary.json").exists()
    }


def kill(way, output, draw):
    """Kill a sweep at some moment within a cell after the first; nobody goes on working on it."""
    mark, cells = f"FEDSIM_TEST_{uuid.uuid4().hex}", draw.randint(1, len(MOODS) - 2)
    lines = draw.randint(1, ROUNDS // 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(mark, "1")
        process = kills.start("fedsim", "run", "s.yaml", "-q", "--output", output, *WAYS[way])
    while not (
        len(list(output.glob("*/summary.json"))) >= cells
        and any(len(found) >= lines for found in unfinished_records(output).values())
    ):
        assert process.poll() is None, f"ended with {process.returncode} before it was killed"
        time.sleep(0.002)
    time.sleep(draw.uniform(0, 0.02))
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    wait_until_gone(mark)


def killed_and_resumed(swept, monkeypatch, way, again, seed):
    folder, whole = swept
    monkeypatch.setenv("FEDSIM_DATA", str(folder))
    monkeypatch.chdir(folder)
    output = Path(f"{way}-{seed}".replace(" ", "-"))
    kill(way, output, random.Random(seed))
    kept, partly = marks(output), unfinished_records(output)
    assert 2 <= len(kept) < 2 * len(MOODS)
    done = kills.fedsim("run", "s.yaml", "-q", "--resume", "--output", output, *WAYS[again])
    assert done.exit_code == 0, done.stderr
    assert kept.items() <= marks(output).items()
    for path, lines in partly.items():  # the last may not have reached the checkpoint
        assert path.read_bytes().startswith(b"".join(lines[:-1]))
    assert (results(output), table(output)) == whole


@pytest.mark.parametrize("way", WAYS)
def test_a_killed_sweep_gone_on_with_is_that_of_nobody_killed(swept, monkeypatch, way):
    killed_and_resumed(swept, monkeypatch, way, "in turn", seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(2, 8))
def test_a_sweep_killed_at_many_moments(swept, monkeypatch, way, seed):
    killed_and_resumed(swept, monkeypatch, way, list(WAYS)[seed % 2], seed)
