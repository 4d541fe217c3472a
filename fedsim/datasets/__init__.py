"""Image data as tensors: (source) → Dataset, a training and a test split."""

import os
from pathlib import Path

from fedsim.registry import Registry
from fedsim.types import DataSource

datasets = Registry("datasets")
names, build = datasets.names, datasets.build


def default_source(*, download: bool = False) -> DataSource:
    """The folder that the environment variable FEDSIM_DATA names, else `data` beside the caller."""
    return DataSource(Path(os.environ.get("FEDSIM_DATA") or "data").expanduser(), download)
