"""Bad data end a command with one line at the place of `dataset` in the scenario, exit code 2."""

import gzip
import re

import numpy as np
import pytest
from click.testing import CliRunner

from fedsim.cli import main
from tests.contracts.test_datasets import make_mnist, write_idx

SCENARIO = """\
name: bad-data
rounds: 1
model: {{name: mlp, hidden: [2]}}
clients: {{total: 2, per_round: 2, training: {{lr: 0.1}}}}
data:
  partition: {{name: iid}}
  dataset: {dataset}
"""
RAW = "MNIST/raw/"
IMAGES, LABELS = f"{RAW}train-images-idx3-ubyte", f"{RAW}train-labels-idx1-ubyte"


def cut(root):
    path = root / IMAGES
    path.write_bytes(path.read_bytes()[:-100])


def cut_packed(root):
    packed = gzip.compress((root / IMAGES).read_bytes())
    (root / IMAGES).unlink()
    (root / f"{IMAGES}.gz").write_bytes(packed[: len(packed) // 2])


def spoilt_packed(root):
    packed = bytearray(gzip.compress((root / IMAGES).read_bytes()))
    packed[len(packed) // 2] ^= 0xFF
    (root / IMAGES).unlink()
    (root / f"{IMAGES}.gz").write_bytes(packed)


def idx(path, shape, value=0):
    return lambda root: write_idx(root / path, np.full(shape, value, dtype=np.uint8))


MNIST = {  # what is done to good files → what the line says
    "cut": (cut, "where its header says"),
    "cut packed": (cut_packed, r"images-idx3-ubyte\.gz cannot be read \(EOFError"),
    "spoilt packed": (spoilt_packed, r"images-idx3-ubyte\.gz cannot be read"),
    "another shape": (idx(IMAGES, (30, 14, 14)), r"images of \(14, 14\), not \(28, 28\)"),
    "flat images": (idx(IMAGES, (30,)), "is not an idx file of unsigned bytes in 3 dimensions"),
    "a label too high": (idx(LABELS, (30,), 10), "has the label 10 outside of 0 to 9"),
    "fewer labels": (idx(LABELS, (29,)), "has 29 labels for 30 images"),
    "no images": (idx(IMAGES, (0, 28, 28)), "is empty"),
}

GOOD = {
    "train_images": np.zeros((4, 1, 8, 8), np.float32),
    "train_labels": np.arange(4) % 2,
    "test_images": np.zeros((2, 1, 8, 8), np.float32),
    "test_labels": np.arange(2),
}
TENSORS = {
    "a NaN": ({"train_images": np.full((4, 1, 8, 8), np.nan, np.float32)}, "not in"),
    "infinity": ({"test_images": np.full((2, 1, 8, 8), np.inf, np.float32)}, "not in"),
    "bytes as floats": ({"train_images": np.full((4, 1, 8, 8), 255.0)}, "from 255 to 255, not in"),
    "flat images": ({"train_images": np.zeros((4, 64), np.float32)}, r"of shape \(4, 64\)"),
    "no images": ({"train_images": np.zeros((0, 1, 8, 8), np.float32)}, r"of shape \(0, 1, 8, 8\)"),
    "fewer labels": ({"train_labels": np.zeros(3, int)}, "has 3 labels for 4 images"),
    "a label below 0": ({"train_labels": np.full(4, -1)}, "has the label -1 outside of"),
    "a label too high": (
        {"test_labels": np.full(2, 10**9)},
        "has the label 1000000000 among fewer",
    ),
    "labels with parts": ({"train_labels": np.full(4, 0.5)}, "not whole numbers"),
    "another test shape": ({"test_images": np.zeros((2, 1, 9, 9))}, "of different shapes"),
    "objects": ({"train_labels": np.array([{}] * 4, dtype=object)}, "cannot be read"),
    "one left out": ({"test_labels": None}, "has no test_labels"),
}


def refused(tmp_path, monkeypatch, dataset, told):
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    file = tmp_path / "bad.yaml"
    file.write_text(SCENARIO.format(dataset=dataset))
    for command in (["run", "--output", str(tmp_path / "runs")], ["preview"]):
        done = CliRunner().invoke(main, [*command, str(file)])
        assert done.exit_code == 2
        assert re.fullmatch(rf"{file}:7:3: data\.dataset: .*{told}.*\n", done.stderr), done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("damage", "told"), MNIST.values(), ids=MNIST)
def test_damaged_idx_files(tmp_path, monkeypatch, damage, told):
    make_mnist("MNIST/raw")(tmp_path, monkeypatch)
    damage(tmp_path)
    refused(tmp_path, monkeypatch, "{name: mnist}", told)


@pytest.mark.parametrize(("changes", "told"), TENSORS.values(), ids=TENSORS)
def test_damaged_tensors(tmp_path, monkeypatch, changes, told):
    arrays = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    np.savez(tmp_path / "own.npz", **arrays)
    refused(tmp_path, monkeypatch, "{name: tensors, path: own.npz}", told)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a"])
def test_damaged_pictures(tmp_path, monkeypatch, content):
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_bytes(content)
    told = r"pets/.../1\.png cannot be read"
    refused(tmp_path, monkeypatch, "{name: image_folder, path: pets}", told)
