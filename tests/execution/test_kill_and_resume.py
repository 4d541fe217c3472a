"""SIGKILL at any moment and going on: the finished run equals one that nobody touched."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fedsim.cli import main
from tests.execution.stopped_runs import SCENARIOS, assert_equal
from tests.execution.test_execution import write_data

ROOT = Path(__file__).parents[2]
ROUNDS = 12
NAMES = list(SCENARIOS)

MOMENTS = [
    ("line", 1), ("line", 2), ("line", 9), ("line", 14), ("recorded", 1), ("recorded", 7),
    ("checkpoint", 1), ("checkpoint", 5), ("model", 1), ("summary", 1), ("finished", 1),
    ("page", 1),
]  # fmt: skip
SEEDS = range(8)
"""With the moments, twenty kills."""


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a run that nobody touched, made once for each scenario."""
    made = {}

    def make(name):
        if name not in made:
            output = tmp_path_factory.mktemp("whole")
            assert fedsim("run", "s.yaml", "--output", output).exit_code == 0
            [made[name]] = (
                f.parent for f in output.glob("*/summary.json") if not is_twin(f.parent)
            )
        return made[name]

    return make


def is_twin(folder):
    return yaml.safe_load((folder / "scenario.yaml").read_text())["adversary"]["clients"] == 0


def fedsim(*arguments):
    """A command, in this process: nothing is imported twice."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def write_scenario(name):
    Path("s.yaml").write_text(yaml.safe_dump({**SCENARIOS[name], "rounds": ROUNDS}))


def start(*command, before=lambda: None, **options):
    """A process of its own, which hears Ctrl-C whoever started the tests."""

    def hear():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        before()

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        env=environment, preexec_fn=hear, text=True, stdout=subprocess.DEVNULL, **options,
    )  # fmt: skip


def wait_for_line(process, pattern, count):
    """Wait until a file has `count` lines; the process has not ended before."""
    while process.poll() is None:
        if any(f.read_bytes().count(b"\n") >= count for f in Path().glob(pattern)):
            return
        time.sleep(0.002)
    raise AssertionError(f"ended with {process.returncode} before line {count}")


def go_on(broken, by_folder):
    """Resume by the folder or by the scenario."""
    folders = list(broken.glob("*/scenario.yaml"))
    [folder] = [f.parent for f in folders if not is_twin(f.parent)] or [None]
    arguments = ["resume", folder] if by_folder and folder else None
    done = fedsim(*(arguments or ["run", "s.yaml", "--output", broken, "--resume"]))
    assert done.exit_code == 0, done.stderr
    [finished] = (f.parent for f in broken.glob("*/summary.json") if not is_twin(f.parent))
    return finished


def killed_at_a_moment(name, moment, count, unbroken):
    write_scenario(name)
    broken = Path("broken").absolute()
    command = ["tests.execution.die_at", moment, count, "run", "s.yaml", "-q", "--output", broken]
    assert start(*command).wait(300) == -signal.SIGKILL
    assert_equal(go_on(broken, by_folder=count % 2 == 0), unbroken(name))


def killed_at_random(seed, unbroken):
    """Killed within a round, or between two, by somebody else."""
    draw = random.Random(seed)
    name = NAMES[seed % len(NAMES)]
    write_scenario(name)
    broken = Path("broken").absolute()
    process = start("fedsim", "run", "s.yaml", "-q", "--output", broken)
    wait_for_line(process, "broken/*/rounds.jsonl", draw.randint(1, ROUNDS // 2))
    time.sleep(draw.uniform(0, 0.02))
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert_equal(go_on(broken, by_folder=seed % 2 == 0), unbroken(name))


def test_killed_by_somebody_else(unbroken):
    killed_at_random(3, unbroken)


@pytest.mark.parametrize(("moment", "count"), [("line", 10), ("checkpoint", 6)])
def test_killed_in_the_middle_of_a_write(unbroken, moment, count):
    killed_at_a_moment(NAMES[1], moment, count, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_killed_by_somebody_else_at_many_moments(unbroken, seed):
    killed_at_random(seed + 10, unbroken)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "count"), MOMENTS)
def test_killed_at_every_kind_of_moment(unbroken, moment, count):
    killed_at_a_moment(NAMES[(len(moment) + count) % len(NAMES)], moment, count, unbroken)
