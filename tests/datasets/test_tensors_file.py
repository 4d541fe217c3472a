"""Anybody's arrays: what is accepted, and what is refused in one line."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fedsim.datasets.tensors import tensors
from fedsim.errors import DataError
from fedsim.types import DataSource

RANDOM = np.random.default_rng(3)
GOOD = {
    "train_images": RANDOM.integers(0, 256, (12, 3, 5, 7), dtype=np.uint8),
    "train_labels": np.arange(12) % 4,
    "test_images": RANDOM.integers(0, 256, (6, 3, 5, 7), dtype=np.uint8),
    "test_labels": np.arange(6) % 4,
}


def load(root, path="own.npz", **parameters):
    return tensors(DataSource(root), path=path, **parameters)


def write(root, **changes):
    np.savez(root / "own.npz", **{**GOOD, **changes})


def both(images):
    return {"train_images": images, "test_images": images[:6]}


def test_npz_and_safetensors_give_the_same(tmp_path):
    write(tmp_path, notes=np.arange(3))
    save_file({k: torch.from_numpy(v) for k, v in GOOD.items()}, tmp_path / "own.safetensors")
    packed, safe = load(tmp_path), load(tmp_path / "elsewhere", str(tmp_path / "own.safetensors"))
    for dataset in (packed, safe):
        assert np.array_equal(dataset.train.images.numpy(), GOOD["train_images"])
        assert np.array_equal(dataset.test.labels.numpy(), GOOD["test_labels"])
        assert dataset.num_classes == 4


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8"])
def test_floats_become_float32_and_get_a_channel(tmp_path, kind):
    images = RANDOM.random((12, 5, 7)).astype(kind)
    write(tmp_path, **both(images))
    split = load(tmp_path).train
    assert split.images.shape == (12, 1, 5, 7)
    assert split.images.dtype == torch.float32
    assert np.array_equal(split.images.numpy()[:, 0], images.astype(np.float32))


def test_bfloat16_and_fortran_order_are_read(tmp_path):
    images = {k: torch.from_numpy(v) for k, v in GOOD.items()}
    for half in ("train", "test"):
        images[f"{half}_images"] = (images[f"{half}_images"] / 255).bfloat16()
    save_file(images, tmp_path / "b.safetensors")
    assert load(tmp_path, "b.safetensors").train.images.dtype == torch.float32
    write(tmp_path, **both(np.asfortranarray(GOOD["train_images"])))
    split = load(tmp_path).train
    assert split.images.is_contiguous()
    assert np.array_equal(split.images.numpy(), GOOD["train_images"])


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint16, ">i8"])
def test_any_whole_numbers_are_labels(tmp_path, kind):
    write(tmp_path, train_labels=GOOD["train_labels"].astype(kind))
    assert load(tmp_path).train.labels.tolist() == GOOD["train_labels"].tolist()


def test_num_classes_may_be_said(tmp_path):
    write(tmp_path)
    assert load(tmp_path, num_classes=9).num_classes == 9
    with pytest.raises(DataError, match="has the label 3 outside of 0 to 2"):
        load(tmp_path, num_classes=3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (both(RANDOM.random((12, 5, 7)) * 2), r"has train_images from .* to 1\.9\d*, not in"),
        (both(np.full((12, 5, 7), np.nan)), r"has train_images from nan to nan, not in \[0, 1\]"),
        (both(np.full((12, 5, 7), -0.1)), "has train_images from -0.1 to -0.1, not in"),
        (both(np.zeros((12, 5, 7), np.int16)), "has train_images of type torch.int16"),
        (both(np.zeros((12, 5, 7), bool)), "has train_images of type torch.bool"),
        (both(np.zeros((12, 35), np.uint8)), r"has train_images of shape \(12, 35\)"),
        (both(np.zeros((12, 0, 7), np.uint8)), r"has train_images of shape \(12, 1, 0, 7\)"),
        (
            both(np.zeros((12, 32, 32, 3), np.uint8)),
            r"has train_images of shape \(12, 32, 32, 3\): channels must",
        ),
        (both(np.array(["a"] * 12)), "cannot be read .TypeError"),
        (both(np.array([None] * 12)), "cannot be read .ValueError: Object arrays"),
        (
            {"test_images": GOOD["test_images"][:, :1]},
            r"has training and test images of different shapes, \(3, 5, 7\) and",
        ),
        ({"train_labels": GOOD["train_labels"][:5]}, "has 5 labels for 12 images"),
        ({"train_labels": GOOD["train_labels"] - 1}, "has the label -1 outside of 0 to 3"),
        ({"test_labels": GOOD["test_labels"] + 2**40}, r"has the label \d+ among fewer images"),
        ({"test_labels": GOOD["test_labels"] / 2}, "has test_labels torch.float64"),
        ({"test_labels": GOOD["test_labels"] > 1}, "has test_labels torch.bool"),
        ({"test_labels": np.eye(6, dtype=int)}, r"has test_labels torch.int64 \(6, 6\)"),
        ({"test_labels": np.zeros(0, dtype=int)}, r"has test_labels torch.int64 \(0,\)"),
    ],
)
def test_what_makes_no_sense_is_told_in_one_line(tmp_path, changes, said):
    write(tmp_path, **changes)
    with pytest.raises(DataError, match=f"^{tmp_path}/own.npz {said}"):
        load(tmp_path)


def test_absent_arrays_and_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "own.npz", train_images=GOOD["train_images"])
    with pytest.raises(DataError, match="has no train_labels, test_images, test_labels"):
        load(tmp_path)
    np.save(tmp_path / "own.npy", GOOD["train_images"])
    with pytest.raises(DataError, match=r"own\.npy must end in \.npz or \.safetensors\.$"):
        load(tmp_path, "own.npy")
    (tmp_path / "own.npy").rename(tmp_path / "own.npz")
    with pytest.raises(DataError, match=r"own\.npz cannot be read"):
        load(tmp_path)
    (tmp_path / "own.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(DataError, match=r"own\.safetensors cannot be read \(SafetensorError"):
        load(tmp_path, "own.safetensors")


@pytest.mark.parametrize("path", ["", ".", "a\0b", "x" * 5000, "own.npz/deeper"])
def test_paths_that_are_no_files_are_refused(tmp_path, path):
    write(tmp_path)
    with pytest.raises(DataError, match="is not a file"):
        load(tmp_path, path)
