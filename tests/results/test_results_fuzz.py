"""Whatever stands in a run folder: it is read, or resumed to the same end, or one line says why not."""

import json
import shutil
from copy import deepcopy

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import fedsim
from fedsim.cli import main
from fedsim.errors import InputError
from tests.scenario.mutations import at, junk, paths

SCENARIO = {
    "name": "small",
    "rounds": 3,
    "model": {"name": "mlp", "hidden": [4]},
    "clients": {"total": 6, "per_round": 3, "training": {"lr": 0.1, "batch_size": 64}},
    "server": {"aggregator": {"name": "foolsgold"}},
    "adversary": {
        "clients": 2,
        "poison": {"name": "backdoor", "target": 1, "trigger": {"name": "patch"}, "fraction": 0.5},
    },
}
TEXT = (
    "summary.json",
    "rounds.jsonl",
    "clients.jsonl",
    "environment.json",
    "scenario.yaml",
    "updates.json",
)
BINARY = ("model.safetensors", "examples.safetensors", "checkpoint.pt")
ODD = [b"", b"\0", b"[" * 5000, b"{" * 5000, b"[]", b"null", b"3", b"NaN", b'{"a": 1e999}', b"\xff"]
ODD += [
    b"{}",
    b'{"round": 0}',
    b'{"round": 0}\n' * 3,
    b"9" * 5000,
    "{}".encode("utf-16"),
    b"a: &a [*a]",
]


class PlugPulledError(Exception):
    """Somebody pulls the plug."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A finished run, and the same one stopped after its second round; folders of the same name."""
    finished = fedsim.run(SCENARIO, output=tmp_path_factory.mktemp("whole")).path
    broken = tmp_path_factory.mktemp("half")
    rounds = iter(range(3))

    def pull_the_plug(*_):
        if next(rounds) == 2:
            raise PlugPulledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsim.progress.Silence.round_done", pull_the_plug)
        with pytest.raises(PlugPulledError):
            fedsim.run(SCENARIO, output=broken)
    unfinished = broken / finished.name
    assert (unfinished / "checkpoint.pt").is_file()
    return finished, unfinished


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("spoilt")


@st.composite
def spoilt(draw, folder, there, names):
    """A copy of `folder` in `there`, with one of its files spoilt."""
    copied = there / folder.name
    shutil.rmtree(copied, ignore_errors=True)
    shutil.copytree(folder, copied)
    path = copied / draw(st.sampled_from([name for name in names if (folder / name).exists()]))
    content = path.read_bytes()
    kinds = ["gone", "cut", "odd", "flip", "folder", "loop"] + ["value"] * 12 * (path.name in TEXT)
    match draw(st.sampled_from(kinds)):
        case "gone":
            path.unlink()
        case "cut":
            path.write_bytes(content[: draw(st.integers(0, len(content)))])
        case "odd":
            path.write_bytes(draw(st.sampled_from(ODD) | st.binary(max_size=20)))
        case "flip":
            start = draw(st.integers(0, len(content)))
            other = draw(st.binary(min_size=1, max_size=3))
            path.write_bytes(content[:start] + other + content[start + len(other) :])
        case "folder":
            path.unlink()
            path.mkdir()
        case "loop":
            path.unlink()
            path.symlink_to(path.name)
        case _:
            path.write_text(draw(another_value(path.name, content.decode())))
    return copied


@st.composite
def another_value(draw, name, text):
    """The text of a file with one of its values replaced or removed, as somebody might edit it."""
    if name == "scenario.yaml":
        tree = fedsim.scenario.document(SCENARIO).tree
        return json.dumps(edited(draw, fedsim.scenario.load(tree)[0].scenario.resolved()))
    if name.endswith(".json"):
        return json.dumps(edited(draw, json.loads(text)))
    lines = text.splitlines()
    row = draw(st.integers(0, len(lines) - 1))
    lines[row] = json.dumps(edited(draw, json.loads(lines[row])))
    return "\n".join(lines) + "\n"


def edited(draw, tree):
    tree = deepcopy(tree)
    path = draw(st.sampled_from([path for path in paths(tree) if path]))
    if draw(st.booleans()):
        at(tree, path[:-1])[path[-1]] = draw(junk)
    else:
        del at(tree, path[:-1])[path[-1]]
    return tree


def called(*arguments):
    """The exit code of a command; where it is not 0, stderr is one line with a place."""
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    line = done.stderr.strip().splitlines()[-1:]
    assert done.exit_code in {0, 2}, done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    if done.exit_code:
        assert len(line) == 1
        assert ": " in line[0]
    return done.exit_code


@settings(max_examples=150)
@given(data=st.data())
def test_a_spoilt_run_is_read_or_refused(data, folders, place):
    folder = data.draw(spoilt(folders[0], place, TEXT))
    line = ""
    try:
        run = fedsim.load(folder)
        assert all((run.summary, run.rounds, run.clients, run.scenario, run.label))
        assert folder.name in repr(run)
        assert folder.name in run._repr_html_()
    except InputError as error:
        line = str(error)
    assert not line or (line.isprintable() and line.startswith(str(folder)))


@settings(max_examples=15)
@given(data=st.data())
def test_a_spoilt_run_is_reported_or_refused(data, folders, place):
    folder = data.draw(spoilt(folders[0], place, [*TEXT, *BINARY]))
    called("report", folder, "-o", place / "page.html")


@settings(max_examples=25)
@given(data=st.data())
def test_a_spoilt_run_is_resumed_to_the_same_end_or_refused(data, folders, place):
    finished, unfinished = folders
    folder = data.draw(spoilt(unfinished, place, [*TEXT, *BINARY]))
    if called("resume", folder) == 0:
        ends = [fedsim.load(one).summary["parameters_sha256"] for one in (folder, finished)]
        assert ends[0] == ends[1]


@pytest.mark.parametrize("command", ["report", "resume", "compare"])
@pytest.mark.parametrize("name", ["empty", "loop", "file", "nowhere", "x" * 300, "a/" * 3000])
def test_a_folder_that_is_none(tmp_path, command, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    folders = [tmp_path / name] * (2 if command == "compare" else 1)
    assert called(command, *folders) == 2
