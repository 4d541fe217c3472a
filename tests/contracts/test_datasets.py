"""What every data set promises, on small made files; one without a row fails the suite."""

import hashlib
import pickle
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from fedsim.datasets import datasets
from fedsim.errors import DataError
from fedsim.types import DataSource

RANDOM = np.random.default_rng(0)


def pixels(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())


def make_mnist(folder, first=0, train="train", test="t10k"):
    def make(root, monkeypatch):
        for half, count in ((train, 30), (test, 10)):
            labels = (np.arange(count) % 10 + first).astype(np.uint8)
            write_idx(root / folder / f"{half}-images-idx3-ubyte", pixels(count, 28, 28))
            write_idx(root / folder / f"{half}-labels-idx1-ubyte", labels)

    return make


def make_cifar(name, key, num_classes):
    def make(root, monkeypatch):
        import torchvision.datasets

        published = getattr(torchvision.datasets, name)
        folder = root / published.base_folder
        folder.mkdir()
        for listed in ("train_list", "test_list"):
            files = []
            for file, _ in getattr(published, listed):
                batch = {"data": pixels(10, 3072), key: (np.arange(10) % num_classes).tolist()}
                (folder / file).write_bytes(pickle.dumps(batch))
                files.append([file, hashlib.md5((folder / file).read_bytes()).hexdigest()])
            monkeypatch.setattr(published, listed, files)

    return make


def make_svhn(root, monkeypatch):
    from scipy.io import savemat

    for half, count in (("train", 30), ("test", 10)):
        labels = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
        savemat(root / f"{half}_32x32.mat", {"X": pixels(32, 32, 3, count), "y": labels})


def write_picture(path, *shape):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(*shape)).save(path)


def make_gtsrb(root, monkeypatch):
    folder = root / "gtsrb" / "GTSRB"
    rows = ["Filename;Width;ClassId"]
    for label in (0, 7, 42):
        write_picture(folder / "Training" / f"{label:05d}" / "00000_00000.ppm", 30, 29, 3)
        write_picture(folder / "Final_Test" / "Images" / f"{label:05d}.ppm", 40, 41, 3)
        rows.append(f"{label:05d}.ppm;41;{label}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows) + "\n")


def make_folder(root, monkeypatch):
    for half in ("train", "test"):
        for name in ("cat", "dog"):
            write_picture(root / "pets" / half / name / "1.png", 20, 30, 3)


def make_npz(root, monkeypatch):
    np.savez(
        root / "own.npz",
        train_images=RANDOM.random((12, 5, 7)),
        train_labels=np.arange(12) % 3,
        test_images=RANDOM.random((6, 5, 7)),
        test_labels=np.arange(6) % 3,
    )


class Row(NamedTuple):
    """How to make its files, where it says they are missing, and what it returns."""

    make: Callable | None
    place: str | None
    parameters: dict[str, object]
    shape: tuple[int, int, int]
    num_classes: int
    dtype: torch.dtype = torch.uint8
    downloads: bool = True


ROWS = {
    "digits": Row(None, None, {}, (1, 8, 8), 10, torch.float32),
    "synthetic": Row(None, None, {"channels": 3, "size": 9}, (3, 9, 9), 10, torch.float32),
    "mnist": Row(make_mnist("MNIST/raw"), "MNIST/raw", {}, (1, 28, 28), 10),
    "fashion_mnist": Row(make_mnist("FashionMNIST/raw"), "FashionMNIST/raw", {}, (1, 28, 28), 10),
    "emnist": Row(
        make_mnist("EMNIST/raw", 1, "emnist-letters-train", "emnist-letters-test"),
        "EMNIST/raw",
        {"split": "letters"},
        (1, 28, 28),
        26,
    ),
    "cifar10": Row(make_cifar("CIFAR10", "labels", 10), "", {}, (3, 32, 32), 10),
    "cifar100": Row(make_cifar("CIFAR100", "fine_labels", 100), "", {}, (3, 32, 32), 100),
    "svhn": Row(make_svhn, "", {}, (3, 32, 32), 10),
    "gtsrb": Row(make_gtsrb, "gtsrb", {"size": 16}, (3, 16, 16), 43),
    "image_folder": Row(
        make_folder, "pets", {"path": "pets", "size": 8}, (3, 8, 8), 2, downloads=False
    ),
    "tensors": Row(
        make_npz, "own.npz", {"path": "own.npz"}, (1, 5, 7), 3, torch.float32, downloads=False
    ),
}
WITH_FILES = [name for name, row in ROWS.items() if row.make]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whoever opens a connection fails."""

    def refuse(*_):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def load(name, root, download=False):
    return datasets.build(name, **ROWS[name].parameters)(DataSource(root, download))


def test_every_data_set_has_a_row():
    assert set(ROWS) == set(datasets.names())


@pytest.mark.parametrize("name", ROWS)
def test_images_and_labels_have_the_promised_form(name, tmp_path, monkeypatch):
    row = ROWS[name]
    if row.make:
        row.make(tmp_path, monkeypatch)
    dataset = load(name, tmp_path)
    assert dataset.shape == row.shape
    assert dataset.num_classes == row.num_classes
    for split in (dataset.train, dataset.test):
        assert len(split) == len(split.images) > 0
        assert split.images.shape[1:] == row.shape
        assert split.images.dtype == row.dtype
        assert split.images.is_contiguous()
        assert split.labels.dtype == torch.long
        assert 0 <= split.labels.min() <= split.labels.max() < row.num_classes
        images = split.take(torch.arange(len(split))).images
        assert images.dtype == torch.float32
        assert 0 <= images.min() < images.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_loading_twice_gives_the_same_and_draws_nothing(name, tmp_path, monkeypatch):
    if make := ROWS[name].make:
        make(tmp_path, monkeypatch)
    before = torch.random.get_rng_state()
    first = load(name, tmp_path)
    torch.manual_seed(99)
    second = load(name, tmp_path, download=True)
    torch.random.set_rng_state(before)
    for a, b in ((first.train, second.train), (first.test, second.test)):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)


@pytest.mark.parametrize("name", WITH_FILES)
def test_missing_data_is_one_line_with_the_place_and_the_way_out(name, tmp_path):
    row, place = ROWS[name], tmp_path / "nowhere" / ROWS[name].place
    with pytest.raises(DataError) as caught:
        load(name, tmp_path / "nowhere")
    text = str(caught.value)
    assert "\n" not in text
    assert name in text
    assert f"{place} is not a file. Put " in text or f" is not in {place}. Put " in text
    assert text.endswith(" there, or run once online with --download.") == row.downloads
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("name", [name for name in WITH_FILES if ROWS[name].downloads])
def test_a_download_that_fails_is_one_line(name, tmp_path):
    with pytest.raises(
        DataError, match=rf"^{name} could not be downloaded into .* Put .* there\.$"
    ):
        load(name, tmp_path, download=True)


@pytest.mark.parametrize("name", WITH_FILES)
def test_a_relative_root_is_named_in_full(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=str(tmp_path)):
        datasets.build(name, **ROWS[name].parameters)(DataSource(tmp_path.relative_to(tmp_path)))


@pytest.mark.parametrize("name", WITH_FILES)
def test_any_broken_file_is_a_data_error_that_names_it(name, tmp_path, monkeypatch):
    """Every file in turn is emptied, cut in half, filled with junk, and made a folder."""
    ROWS[name].make(tmp_path, monkeypatch)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        content = path.read_bytes()
        for damaged in (b"", content[: len(content) // 2], b"\x80\x04junk\n" * 50):
            path.write_bytes(damaged)
            with pytest.raises(DataError) as caught:
                load(name, tmp_path)
            assert path.name in str(caught.value)
            assert "\n" not in str(caught.value)
        path.unlink()
        path.mkdir()
        with pytest.raises(DataError, match=str(tmp_path)):
            load(name, tmp_path)
        path.rmdir()
        path.write_bytes(content)
    load(name, tmp_path)
