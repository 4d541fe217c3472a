"""What all tests of checks after training share: models with a known backdoor."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.after.trained import TrainedPair, trained_pair

collect_ignore = ["toys.py", "tiny_cnn.py"]  # files of a user, loaded by their path alone


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder of runs for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    return shared / "trained"


@pytest.fixture(scope="session")
def trained(trained_folder: Path) -> Callable[..., TrainedPair]:
    """`trained(kind, seed)` is a backdoored model and its clean twin, trained once."""

    def pair(kind: str, seed: int, model: str = "mlp") -> TrainedPair:
        """Kinds: centralized, dba, boosted. Models: mlp, cnn (two convolutions)."""
        return trained_pair(trained_folder, kind, seed, model)

    return cache(pair)
