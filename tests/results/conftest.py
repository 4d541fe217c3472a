"""A run folder before and after its end."""

import pytest

from fedsim.results import RunFolder
from tests.results.result_records import write_run


@pytest.fixture
def unfinished(tmp_path) -> RunFolder:
    return RunFolder(write_run(tmp_path / "run", finish=False).path)  # as another process finds it


@pytest.fixture
def finished(tmp_path) -> RunFolder:
    return write_run(tmp_path / "run")
