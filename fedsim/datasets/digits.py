"""Digits: the real images that come with scikit-learn, so that nothing has to be downloaded."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedsim.datasets import datasets
from fedsim.datasets._even import evenly_spaced
from fedsim.datasets._files import reading
from fedsim.types import Dataset, DataSource, Split

NUM_TEST = 360


@datasets.register
def digits(source: DataSource) -> Dataset:
    """1,797 grey images of handwritten digits, 8 × 8: 1,437 for training, 360 for testing.

    They lie inside scikit-learn's wheel; pixels are its values 0 … 16 divided by 16. The split is
    always the same and needs no random numbers: of each class, in scikit-learn's order, evenly
    spaced images are for testing, as many as the class's share of 360.

    Paper: Alpaydin, Kaynak, Kybernetika 1998 (UCI: optical recognition of handwritten digits).
    Differs: the UCI test part alone, split again; the original training part is not in the wheel.

    >>> from pathlib import Path
    >>> len(digits(DataSource(Path())).test)
    360
    """
    with reading("scikit-learn's digits"):
        rows = _rows()
    images = rows[:, :-1].float().div_(16).view(-1, 1, 8, 8)
    labels = rows[:, -1].long()
    test = evenly_spaced(labels, NUM_TEST)
    return Dataset(Split(images[~test], labels[~test]), Split(images[test], labels[test]), 10)


@cache
def _rows() -> Tensor:
    """Pixels and label of each image, (1797, 65), from the file that scikit-learn reads.

    It is found without importing scikit-learn, which takes a second.
    """
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("scikit-learn is not installed")
    path = Path(spec.submodule_search_locations[0], "datasets", "data", "digits.csv.gz")
    return torch.from_numpy(np.loadtxt(path, delimiter=","))
