"""MNIST and its kin: the idx format, broken in every way, and the real files."""

import gzip
import struct

import numpy as np
import pytest
import torch

from fedsim.datasets._idx import read_idx
from fedsim.datasets.emnist import emnist
from fedsim.datasets.fashion_mnist import fashion_mnist
from fedsim.datasets.mnist import mnist
from fedsim.errors import DataError
from fedsim.types import DataSource

IMAGES = np.random.default_rng(1).integers(0, 256, (20, 28, 28), dtype=np.uint8)
LABELS = (np.arange(20) % 10).astype(np.uint8)


def idx(array):
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(folder, images=IMAGES, labels=LABELS, halves=("train", "t10k")):
    folder.mkdir(parents=True, exist_ok=True)
    for half in halves:
        (folder / f"{half}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(idx(labels))


@pytest.fixture
def raw(tmp_path):
    write(tmp_path / "MNIST" / "raw")
    return tmp_path / "MNIST" / "raw"


def load(raw):
    return mnist(DataSource(raw.parent.parent))


def test_pixels_and_labels_arrive_unchanged(raw):
    dataset = load(raw)
    assert np.array_equal(dataset.train.images.numpy()[:, 0], IMAGES)
    assert np.array_equal(dataset.test.labels.numpy(), LABELS)


def test_packed_files_are_read_as_they_are(raw):
    plain = load(raw)
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = load(raw)
    assert torch.equal(packed.train.images, plain.train.images)
    assert torch.equal(packed.test.labels, plain.test.labels)


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:30] + b"\0" * 40 + b[70:]])
def test_a_damaged_packed_file_is_named(raw, damage):
    path = raw / "t10k-images-idx3-ubyte"
    packed = path.with_name(path.name + ".gz")
    packed.write_bytes(damage(gzip.compress(path.read_bytes())))
    path.unlink()
    with pytest.raises(DataError, match=rf"{packed} cannot be read \(\w+.*\)\. Put"):
        load(raw)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(IMAGES)[:-1], "holds 15679 bytes where its header says (20, 28, 28)"),
        (idx(IMAGES) + b"\0", "holds 15681 bytes where its header says (20, 28, 28)"),
        (idx(IMAGES)[:10], "is not an idx file of unsigned bytes in 3 dimensions"),
        (b"<html>404</html>" * 9, "is not an idx file of unsigned bytes in 3 dimensions"),
        (idx(LABELS), "is not an idx file of unsigned bytes in 3 dimensions"),
        (b"\0\0\x0d" + idx(IMAGES)[3:], "is not an idx file of unsigned bytes in 3 dimensions"),
        (idx(IMAGES[:, :14, :14]), "holds images of (14, 14), not (28, 28)"),
        (idx(IMAGES[:0]), "is empty: its header says (0, 28, 28)"),
        (b"\0\0\x08\x03" + b"\xff" * 40, "holds 28 bytes where its header says"),
    ],
)
def test_broken_images_are_told_in_one_line(raw, content, said):
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(raw)
    assert str(caught.value).startswith(f"{path} {said}")
    assert str(caught.value).endswith("Put a good copy there.")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABELS[:-1], "has 19 labels for 20 images"),
        (LABELS + 1, "has the label 10 outside of 0 to 9"),
        (LABELS[:0], "is empty: its header says (0,)"),
    ],
)
def test_broken_labels_are_told_in_one_line(raw, labels, said):
    path = raw / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx(labels))
    with pytest.raises(DataError) as caught:
        load(raw)
    assert str(caught.value) == f"{path} {said}. Put a good copy there."


def test_only_the_absent_files_are_asked_for(raw):
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError) as caught:
        load(raw)
    assert str(caught.value) == (
        f"mnist is not in {raw}. Put t10k-labels-idx1-ubyte there, "
        "or run once online with --download."
    )


def test_download_is_used_only_when_asked_for_and_needed(tmp_path, monkeypatch):
    calls = []

    def pretend(root, download):
        calls.append((root, download))
        write(tmp_path / "FashionMNIST" / "raw")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", pretend)
    with pytest.raises(DataError):
        fashion_mnist(DataSource(tmp_path))
    assert calls == []
    for _ in range(2):
        assert len(fashion_mnist(DataSource(tmp_path, download=True)).train) == 20
    assert calls == [(tmp_path, True)]


def test_emnist_is_turned_upright(tmp_path):
    write(tmp_path / "EMNIST" / "raw", halves=("emnist-digits-train", "emnist-digits-test"))
    dataset = emnist(DataSource(tmp_path))
    assert np.array_equal(dataset.train.images.numpy()[:, 0], IMAGES.transpose(0, 2, 1))
    assert dataset.num_classes == 10


def test_emnist_letters_count_from_zero(tmp_path):
    halves = ("emnist-letters-train", "emnist-letters-test")
    write(tmp_path / "EMNIST" / "raw", labels=LABELS + 17, halves=halves)
    dataset = emnist(DataSource(tmp_path), split="letters")
    assert np.array_equal(dataset.train.labels.numpy(), LABELS + 16)
    write(tmp_path / "EMNIST" / "raw", labels=LABELS, halves=halves)
    with pytest.raises(DataError, match="has the label -1 outside of 0 to 25"):
        emnist(DataSource(tmp_path), split="letters")


def test_the_real_mnist_is_read_bit_by_bit(mnist_root):
    dataset = mnist(DataSource(mnist_root))
    assert dataset.train.images.shape == (60_000, 1, 28, 28)
    assert dataset.test.images.shape == (10_000, 1, 28, 28)
    assert dataset.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert dataset.test.labels.bincount().tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip
    assert int(dataset.train.images.sum()) == 1567298545


def test_the_real_mnist_is_what_torchvision_reads(mnist_root):
    from torchvision.datasets import MNIST

    theirs = MNIST(mnist_root, train=False)
    ours = mnist(DataSource(mnist_root)).test
    assert torch.equal(ours.images[:, 0], theirs.data)
    assert torch.equal(ours.labels, theirs.targets)


def test_an_idx_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent cannot be read \(FileNotFoundError: .*\)"):
        read_idx(tmp_path / "absent", 1)
