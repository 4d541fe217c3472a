"""Tensors: anybody's images from one .npz or .safetensors file."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedsim.datasets import datasets
from fedsim.datasets._files import broken, checked, reading
from fedsim.errors import DataError
from fedsim.strict import Positive
from fedsim.types import Dataset, DataSource

KEYS = ("train_images", "train_labels", "test_images", "test_labels")


@datasets.register
def tensors(source: DataSource, *, path: str, num_classes: Positive | None = None) -> Dataset:
    """The four arrays train_images, train_labels, test_images, test_labels of a file.

    Images are uint8, or floats in [0, 1], of shape (N, c, h, w) or (N, h, w) for one channel;
    labels are whole numbers from 0. `path` ends in .npz or .safetensors and is relative to the data
    root unless absolute. `num_classes` None means the largest label + 1. Nothing is unpickled.

    Paper: Folklore.
    Raises: DataError if the file is missing or holds something else.
    """
    file = (source.root / path).absolute()
    if not os.path.isfile(file):
        raise DataError(f"tensors: {file} is not a file. Put a .npz or .safetensors file there.")
    arrays = _load(file)
    if absent := [key for key in KEYS if key not in arrays]:
        raise broken(file, f"has no {', '.join(absent)}")
    for half in ("train", "test"):
        arrays[f"{half}_images"] = _images(file, f"{half}_images", arrays[f"{half}_images"])
        arrays[f"{half}_labels"] = _labels(file, f"{half}_labels", arrays[f"{half}_labels"])
    train_images, train_labels, test_images, test_labels = (arrays[key] for key in KEYS)
    if train_images.shape[1:] != test_images.shape[1:]:
        shapes = f"{tuple(train_images.shape[1:])} and {tuple(test_images.shape[1:])}"
        raise broken(file, f"has training and test images of different shapes, {shapes}")
    k = num_classes or 1 + int(max(train_labels.max(), test_labels.max()))
    if num_classes is None and k > len(train_labels) + len(test_labels):
        raise broken(file, f"has the label {k - 1} among fewer images (or num_classes is missing)")
    return Dataset(
        checked(file, train_images, train_labels, k), checked(file, test_images, test_labels, k), k
    )


def _load(file: Path) -> dict[str, Tensor]:
    with reading(file):
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        if file.suffix != ".npz":
            raise DataError(f"tensors: {file} must end in .npz or .safetensors.")
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {key: _native(archive[key]) for key in KEYS if key in archive}


def _native(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _images(file: Path, key: str, images: Tensor) -> Tensor:
    if images.ndim == 3:
        images = images.unsqueeze(1)
    shape = tuple(images.shape)
    if images.ndim != 4 or 0 in shape:
        raise broken(file, f"has {key} of shape {shape}, not (N, c, h, w) or (N, h, w)")
    if shape[3] <= 4 < shape[1]:
        raise broken(file, f"has {key} of shape {shape}: channels must come first, (N, c, h, w)")
    if images.dtype == torch.uint8:
        return images.contiguous()
    if not images.is_floating_point():
        raise broken(file, f"has {key} of type {images.dtype}, not uint8 or float")
    images = images.float().contiguous()
    low, high = (float(bound) for bound in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise broken(file, f"has {key} from {low:g} to {high:g}, not in [0, 1]")
    return images


def _labels(file: Path, key: str, labels: Tensor) -> Tensor:
    whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
    if labels.ndim != 1 or len(labels) == 0 or not whole:
        raise broken(
            file, f"has {key} {labels.dtype} {tuple(labels.shape)}, not whole numbers (N,)"
        )
    return labels.long()
