"""The pickled batches of CIFAR-10 and CIFAR-100, opened only where their checksums are right."""

import hashlib
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedsim.datasets._files import broken, checked, reading, require
from fedsim.types import DataSource, Split


def read_cifar(
    name: str, source: DataSource, published: Any, key: str, num_classes: int
) -> tuple[Split, Split]:
    """Both splits of `published`, the torchvision class that knows file names and checksums.

    They are read from the unpacked folder, or else from the archive as it is.
    """
    root = source.root.absolute()
    names = [file for file, _ in published.train_list + published.test_list]
    if all(os.path.exists(root / published.base_folder / file) for file in names):
        content = _open_folder(root, published, names)
    else:
        fetch = (lambda: published(root, download=True)) if source.download else None
        require(name, root, [published.filename], fetch)
        content = _open_archive(root, published, names)
    return (
        _split(content, published.train_list, key, num_classes),
        _split(content, published.test_list, key, num_classes),
    )


Content = dict[str, tuple[str, bytes]]
"""File name → the place to show in an error, and the bytes."""


def _open_folder(root: Path, published: Any, names: list[str]) -> Content:
    content = {}
    for name in names:
        path = root / published.base_folder / name
        with reading(path):
            content[name] = (str(path), path.read_bytes())
    return content


def _open_archive(root: Path, published: Any, names: list[str]) -> Content:
    path = root / published.filename
    content = {}
    with reading(path), tarfile.open(path) as archive:
        for name in names:
            member = archive.extractfile(f"{published.base_folder}/{name}")
            if member is None:
                raise broken(path, f"has no file {name}")
            content[name] = (f"{path}:{name}", member.read())
    return content


def _split(content: Content, listed: list[list[str]], key: str, num_classes: int) -> Split:
    images, labels = [], []
    for name, md5 in listed:
        place, data = content[name]
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise broken(place, "is not the published file (its MD5 differs)")
        with reading(place):
            batch = pickle.loads(data, encoding="latin1")
            pixels = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
            images.append(torch.from_numpy(pixels))
            labels.append(torch.tensor(batch[key], dtype=torch.long))
    return checked(place, torch.cat(images), torch.cat(labels), num_classes)
