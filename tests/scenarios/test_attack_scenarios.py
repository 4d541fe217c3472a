"""scenarios/attacks: one for each thing that an adversary can do, with its question and answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fedsim.registry import REGISTRIES
from fedsim.scenario import load

FILES = sorted((Path(__file__).parents[2] / "scenarios" / "attacks").glob("*.yaml"))
KINDS = ("attacks", "constraints", "poisons", "triggers")

files = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def built_in() -> set[str]:
    """What fedsim itself has of these kinds; other tests register plug-ins of theirs."""
    plugins = [REGISTRIES[kind].get(name) for kind in KINDS for name in REGISTRIES[kind].names()]
    return {p.name for p in plugins if p.function.__module__.startswith("fedsim.")}


def names(tree: object) -> Iterator[str]:
    """Every plug-in that a scenario names, wherever it stands."""
    if isinstance(tree, dict):
        if isinstance(tree.get("name"), str):
            yield tree["name"]
        for value in tree.values():
            yield from names(value)
    if isinstance(tree, list):
        for value in tree:
            yield from names(value)


def comments(path: Path) -> list[str]:
    """The lines of comment at the head of a file, without their marks."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return [line.removeprefix("#").strip() for line in lines[:end]]


def test_there_is_one_for_each_name_and_no_other():
    assert {path.stem for path in FILES} == built_in()


@files
def test_it_is_about_what_its_file_is_called(path):
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    used = [tree.get("adversary"), tree.get("matrix")]
    assert path.stem in set(names(used))
    assert tree["name"] == path.stem.replace("_", "-")


@files
def test_it_asks_and_says_what_was_measured(path):
    question, *answer = comments(path)
    assert question.endswith("?")
    (cell, *_) = load(path)
    dataset = cell.scenario.data.dataset.name
    assert answer, "the answer is missing"
    assert answer[0].startswith(f"{dataset}, seed {cell.scenario.seed}: ")


@files
def test_every_cell_has_a_clean_twin(path):
    assert all(cell.scenario.clean_twin for cell in load(path))
