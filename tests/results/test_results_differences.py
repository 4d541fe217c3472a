"""Two run folders: in what they differ, and at which record first."""

import json
import shutil

import pytest

from fedsim.results import Run
from fedsim.results.differences import Difference, differences, number_differences
from tests.results.result_records import write_run


@pytest.fixture
def pair(tmp_path):
    """A run and a copy of its folder."""
    left = write_run(tmp_path / "left")
    shutil.copytree(left.path, tmp_path / "right")
    return left.path, tmp_path / "right"


def found(pair):
    return differences(*map(Run, pair))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def edit_lines(path, change):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in change(lines)))


def test_a_run_does_not_differ_from_its_copy(pair):
    assert found(pair) == []


def test_times_are_no_difference(pair):
    def slower(lines):
        return [{**line, "seconds": {"train": 9.0}} for line in lines]

    edit_lines(pair[1] / "rounds.jsonl", slower)
    edit(pair[1] / "summary.json", lambda summary: summary.update(seconds=9.0))
    assert found(pair) == []


def test_scenario_and_environment_by_their_dotted_keys(pair):
    text = (pair[1] / "scenario.yaml").read_text()
    (pair[1] / "scenario.yaml").write_text(text.replace("seed: 7", "seed: 8") + "extra: {a: [1]}\n")

    def another(environment):
        environment["device"] = "cuda"
        environment["data"] = {"train": "ff"}

    edit(pair[1] / "environment.json", another)
    assert found(pair) == [
        Difference("scenario", "seed", "7", "8"),
        Difference("scenario", "extra.a.0", "–", "1"),
        Difference("environment", "device", "'cpu'", "'cuda'"),
        Difference("environment", "data.train", "–", "'ff'"),
    ]
    assert number_differences(*map(Run, pair)) == []


def test_the_first_record_is_told_and_no_later_one(pair):
    def change(lines):
        for line in lines:
            if (line["round"], line["client"]) in {(1, 1), (2, 0)}:
                line["norm"], line["loss"] = 2.0, None
        return lines

    edit_lines(pair[1] / "clients.jsonl", change)
    edit_lines(
        pair[1] / "rounds.jsonl",
        lambda lines: [{**line, "accuracy": line["accuracy"] / 2} for line in lines[1:]],
    )
    edit_lines(
        pair[1] / "rounds.jsonl",
        lambda lines: [json.loads((pair[0] / "rounds.jsonl").read_text().splitlines()[0]), *lines],
    )
    assert found(pair) == [
        Difference("round 1, client 1", "norm", "1.0", "2.0"),
        Difference("round 1, client 1", "loss", "0.5", "null"),
    ]


def test_a_round_whose_clients_are_equal(pair):
    edit_lines(
        pair[1] / "rounds.jsonl",
        lambda lines: [*lines[:1], {**lines[1], "accuracy": 0.25}, *lines[2:]],
    )
    assert found(pair) == [Difference("round 1", "accuracy", "0.5", "0.25")]


def test_a_run_that_is_shorter(pair):
    edit_lines(pair[1] / "clients.jsonl", lambda lines: lines[:2])
    edit_lines(pair[1] / "rounds.jsonl", lambda lines: lines[:2])
    edit(pair[1] / "summary.json", lambda summary: summary.update(rounds=1))
    first = found(pair)[0]
    assert (first.where, first.key) == ("round 2, client 0", "round")
    assert (first.left, first.right) == ("2", "–")


def test_equal_records_and_another_model(pair):
    edit(pair[1] / "summary.json", lambda summary: summary.update(parameters_sha256="ee"))
    assert found(pair) == [Difference("summary", "parameters_sha256", "'ff'", "'ee'")]
