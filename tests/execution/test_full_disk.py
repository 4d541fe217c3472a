"""A disk that is full, or may not be written: one line, and nothing that was there is lost."""

import errno
import resource
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fedsim.cli import main
from fedsim.results import RunFolder
from tests.execution import test_kill_and_resume as kills
from tests.execution.stopped_runs import SCENARIOS, assert_equal
from tests.execution.test_execution import write_data

TREE = SCENARIOS["auror-adam-redrawn"]
FULL = "cannot be written: No space left on device. What was there before is intact."


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    Path("s.yaml").write_text(yaml.safe_dump(TREE))


def fedsim(*arguments):
    return CliRunner().invoke(main, [*arguments, "-q", "--output", "runs"])


def folders():
    return [folder.parent for folder in Path("runs").glob("*/scenario.yaml")]


def fail_writing(monkeypatch, name, error, count=1):
    """The `count`-th time that the file `name` is opened to be written, and every time after."""
    whole, calls = Path.open, []

    def opened(path, mode="r", *arguments, **options):
        if mode != "rb" and path.name.removesuffix(".tmp") == name:
            calls.append(path)
            if len(calls) >= count:
                raise OSError(error, errno_text(error))
        return whole(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)


def errno_text(error):
    return {errno.ENOSPC: "No space left on device", errno.EROFS: "Read-only file system"}[error]


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("clients.jsonl", 9),
        ("rounds.jsonl", 8),
        ("checkpoint.pt", 4),
        ("model.safetensors", 1),
        ("summary.json", 1),
    ],
)
def test_a_disk_that_gets_full(monkeypatch, name, count):
    with monkeypatch.context() as patch:
        fail_writing(patch, name, errno.ENOSPC, count)
        told = fedsim("run", "s.yaml")
    [folder] = folders()
    assert told.exit_code == 3
    assert told.stderr == f"{folder / name}: {FULL} Go on with: fedsim resume {folder}\n"
    kept = RunFolder(folder).load_checkpoint()["round"]
    assert kept >= 2
    assert fedsim("run", "s.yaml", "--resume").exit_code == 0
    whole = CliRunner().invoke(main, ["run", "s.yaml", "-q", "--output", "whole"])
    assert whole.exit_code == 0
    assert_equal(folder, Path("whole") / folder.name)


def test_a_page_that_does_not_fit(monkeypatch):
    with monkeypatch.context() as patch:
        fail_writing(patch, "report.html", errno.ENOSPC)
        told = fedsim("run", "s.yaml")
    [folder] = folders()
    assert told.exit_code == 3
    assert told.stderr == f"{folder}/report.html: {FULL} Write it with: fedsim report {folder}\n"
    assert RunFolder(folder).finished
    assert CliRunner().invoke(main, ["report", str(folder)]).exit_code == 0


@pytest.mark.parametrize("name", [".lock", "environment.json", "rounds.jsonl"])
def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(monkeypatch, name):
    fail_writing(monkeypatch, name, errno.EROFS)
    told = fedsim("run", "s.yaml")
    assert told.exit_code == 2
    assert told.stderr.endswith(
        "cannot be written: Read-only file system. Choose another output folder.\n"
    )
    assert told.stderr.count("\n") == 1
    assert folders() == []


def test_a_sweep_that_cannot_be_written_is_told_before_anything_runs(monkeypatch):
    fail_writing(monkeypatch, "sweep.json", errno.EROFS)
    told = fedsim("run", "s.yaml", "--set", "matrix={seed: [0, 1]}")
    assert told.exit_code == 2
    assert told.stderr == (
        "runs: cannot be written: Read-only file system. Choose another output folder.\n"
    )
    assert folders() == []


def test_a_sweep_goes_on_to_the_next_cell(monkeypatch):
    with monkeypatch.context() as patch:
        fail_writing(patch, "summary.json", errno.ENOSPC, 2)
        told = fedsim("run", "s.yaml", "--set", "matrix={seed: [0, 1]}")
    assert told.exit_code == 3
    [line] = [line for line in told.stderr.splitlines() if "cell" in line]
    assert line.startswith("fedsim run: cell seed=1 failed: ")
    assert FULL in line
    assert sorted(RunFolder(folder).finished for folder in folders()) == [False, True]
    [swept] = Path("runs").glob("*-sweep-*")
    assert CliRunner().invoke(main, ["resume", str(swept)]).exit_code == 0
    assert all(RunFolder(folder).finished for folder in folders())


def test_a_real_limit_on_the_size_of_files():
    """The system itself refuses in the middle of a line."""
    limit = 6000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    command = ["fedsim", "run", "s.yaml", "-q", "--output", "runs", "--set", "rounds=60"]
    process = kills.start(*command, before=limited, stderr=kills.subprocess.PIPE)
    told = process.communicate(timeout=300)[1]
    [folder] = folders()
    assert process.returncode == 3, told
    assert told.startswith(f"{folder}/")
    assert "cannot be written: File too large. What was there before is intact." in told
    assert told.count("\n") == 1
    assert (folder / "clients.jsonl").stat().st_size <= limit
    done = fedsim("run", "s.yaml", "--resume", "--set", "rounds=60")
    assert done.exit_code == 0, done.stderr
