"""CIFAR: pickles are opened only where the published checksum matches."""

import hashlib
import pickle
import tarfile

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from fedsim.datasets.cifar10 import cifar10
from fedsim.errors import DataError
from fedsim.types import DataSource

NAMES = [file for file, _ in CIFAR10.train_list + CIFAR10.test_list]
OPENED = []


class Trap:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return OPENED.append, (1,)


def batch(number, **changes):
    draw = np.random.default_rng(number)
    pixels = draw.integers(0, 256, (10, 3072), dtype=np.uint8)
    return {"data": pixels, "labels": list(range(10)), **changes}


def write(root, contents):
    (root / CIFAR10.base_folder).mkdir(exist_ok=True)
    for name, content in zip(NAMES, contents, strict=True):
        (root / CIFAR10.base_folder / name).write_bytes(pickle.dumps(content))


def publish(root, monkeypatch):
    """Make the checksums those of the files at hand."""
    for listed in ("train_list", "test_list"):
        files = [
            [f, hashlib.md5((root / CIFAR10.base_folder / f).read_bytes()).hexdigest()]
            for f, _ in getattr(CIFAR10, listed)
        ]
        monkeypatch.setattr(CIFAR10, listed, files)


def test_channels_come_first_and_batches_in_order(tmp_path, monkeypatch):
    batches = [batch(number) for number in range(6)]
    write(tmp_path, batches)
    publish(tmp_path, monkeypatch)
    dataset = cifar10(DataSource(tmp_path))
    assert dataset.train.images.shape == (50, 3, 32, 32)
    first = batches[1]["data"][2].reshape(3, 32, 32)
    assert np.array_equal(dataset.train.images[12].numpy(), first)
    assert torch.equal(dataset.test.labels, torch.arange(10))


def test_the_archive_is_read_without_unpacking(tmp_path, monkeypatch):
    write(tmp_path, [batch(number) for number in range(6)])
    publish(tmp_path, monkeypatch)
    unpacked = cifar10(DataSource(tmp_path))
    folder = tmp_path / CIFAR10.base_folder
    with tarfile.open(tmp_path / CIFAR10.filename, "w:gz") as archive:
        archive.add(folder, CIFAR10.base_folder)
    for path in folder.iterdir():
        path.unlink()
    packed = cifar10(DataSource(tmp_path))
    assert torch.equal(packed.train.images, unpacked.train.images)
    assert list(folder.iterdir()) == []


def test_pickles_of_an_old_numpy_are_read(tmp_path, monkeypatch):
    """The published batches name numpy.core and give the dtype's flags as numbers."""
    write(tmp_path, [batch(number) for number in range(6)])
    for path in (tmp_path / CIFAR10.base_folder).iterdir():
        old = pickle.dumps(pickle.loads(path.read_bytes()), protocol=2)
        old = old.replace(b"numpy._core", b"numpy.core").replace(b"\x89\x88\x87", b"K\0K\1\x87")
        path.write_bytes(old)
    publish(tmp_path, monkeypatch)
    assert len(cifar10(DataSource(tmp_path)).train) == 50


@pytest.mark.parametrize("packed", [False, True])
def test_an_unpublished_pickle_is_refused_unopened(tmp_path, packed):
    write(tmp_path, [Trap()] * 6)
    shown = tmp_path / CIFAR10.base_folder / "data_batch_1"
    if packed:
        with tarfile.open(tmp_path / CIFAR10.filename, "w:gz") as archive:
            archive.add(tmp_path / CIFAR10.base_folder, CIFAR10.base_folder)
        shown.unlink()
        shown = f"{tmp_path / CIFAR10.filename}:data_batch_1"
    with pytest.raises(DataError) as caught:
        cifar10(DataSource(tmp_path))
    expected = f"{shown} is not the published file (its MD5 differs). Put a good copy there."
    assert str(caught.value) == expected
    assert OPENED == []


@pytest.mark.parametrize(
    "content",
    [
        {"data": np.zeros((10, 3072), dtype=np.uint8)},
        batch(0, data=np.zeros((10, 5), dtype=np.uint8)),
        batch(0, labels=["cat"] * 10),
        batch(0, labels=[0] * 9),
        batch(0, labels=[10] * 10),
        [1, 2],
    ],
)
def test_even_a_matching_file_has_to_make_sense(tmp_path, monkeypatch, content):
    write(tmp_path, [content] * 6)
    publish(tmp_path, monkeypatch)
    with pytest.raises(DataError, match=f"^{tmp_path}.* Put a good copy there\\.$"):
        cifar10(DataSource(tmp_path))


def test_an_archive_that_lacks_a_batch_or_is_cut_off_is_named(tmp_path):
    write(tmp_path, [batch(number) for number in range(6)])
    folder, path = tmp_path / CIFAR10.base_folder, tmp_path / CIFAR10.filename
    (folder / "test_batch").unlink()
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, CIFAR10.base_folder)
    with pytest.raises(DataError, match=r"gz cannot be read \(KeyError: .*test_batch"):
        cifar10(DataSource(tmp_path))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match="gz cannot be read"):
        cifar10(DataSource(tmp_path))


def test_an_incomplete_folder_counts_as_absent(tmp_path):
    write(tmp_path, [batch(number) for number in range(6)])
    (tmp_path / CIFAR10.base_folder / "test_batch").unlink()
    with pytest.raises(DataError) as caught:
        cifar10(DataSource(tmp_path))
    assert str(caught.value) == (
        f"cifar10 is not in {tmp_path}. Put cifar-10-python.tar.gz there, "
        "or run once online with --download."
    )
