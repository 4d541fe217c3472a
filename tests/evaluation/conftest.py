"""A suite that takes seconds, and one rule's card on it, made once for all who look at it."""

from pathlib import Path

import pytest
import yaml

from fedsim.evaluation import Card
from fedsim.judging import evaluate

SUITE = {
    "name": "mini",
    "rounds": 3,
    "evaluate_every": 3,
    "clean_twin": True,
    "model": {"name": "mlp", "hidden": [16]},
    "clients": {
        "total": 7,
        "per_round": 7,
        "training": {"epochs": 1, "batch_size": 32, "lr": 0.2, "momentum": 0.9},
    },
    "matrix": {
        "server": [
            {"aggregator": {"name": "median"}},
            {"aggregator": {"name": "mean"}},
            {"aggregator": {"name": "multi_krum", "num_byzantine": 2}},
        ],
        "adversary": [
            {
                "clients": 2,
                "poison": {"name": "backdoor", "target": 2, "fraction": 0.5,
                           "trigger": {"name": "patch"}},
                "training": {"epochs": 5},
                "attack": {"name": "boost", "factor": 3.0},
            },
            {"clients": 2, "attack": {"name": "sign_flip", "factor": 3.0}},
            {"clients": 2, "attack": {"name": "little_is_enough", "z": 0.0}},  # their own mean
        ],
        "seed": [0, 1],
    },
}  # fmt: skip

QUESTION = "Does it hold for three rounds?"


def write_suite(folder: Path, **changes: object) -> Path:
    path = folder / "mini.yaml"
    text = yaml.safe_dump({**SUITE, **changes}, sort_keys=False)
    path.write_text(f"# {QUESTION}\n{text}", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """The folder of the runs, which all tests share."""
    return tmp_path_factory.mktemp("evaluation")


@pytest.fixture(scope="session")
def suite(place) -> Path:
    return write_suite(place)


@pytest.fixture(scope="session")
def brief(place) -> Path:
    """A part of the suite, whose runs are the suite's."""
    folder = place / "brief"
    folder.mkdir()
    matrix = SUITE["matrix"]
    return write_suite(
        folder, matrix={**matrix, "adversary": [matrix["adversary"][1]], "seed": [0]}
    )


@pytest.fixture(scope="session")
def mean_card(place, suite) -> Card:
    return evaluate("mean", suite, output=place / "runs", jobs=1)
