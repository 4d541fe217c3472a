"""SVHN's .mat files and GTSRB's folders."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from fedsim.datasets.gtsrb import gtsrb
from fedsim.datasets.svhn import svhn
from fedsim.errors import DataError
from fedsim.types import DataSource

PIXELS = np.random.default_rng(2).integers(0, 256, (32, 32, 3, 10), dtype=np.uint8)
DIGITS = np.arange(1, 11, dtype=np.uint8)[:, None]


def write_mat(root, half="train", **changes):
    path = root / f"{half}_32x32.mat"
    savemat(path, {"X": PIXELS, "y": DIGITS, **changes})
    return path


def test_svhn_turns_ten_into_zero_and_puts_channels_first(tmp_path):
    write_mat(tmp_path)
    write_mat(tmp_path, "test")
    dataset = svhn(DataSource(tmp_path))
    assert dataset.train.labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert np.array_equal(dataset.test.images[4, 2].numpy(), PIXELS[:, :, 2, 4])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"X": PIXELS[:16]}, r"has X uint8 \(16, 32, 3, 10\), not uint8 \(32, 32, 3, N\)"),
        ({"X": PIXELS / 255}, r"has X float64 \(32, 32, 3, 10\), not uint8"),
        ({"X": PIXELS[..., 0]}, r"has X uint8 \(32, 32, 3\), not uint8"),
        ({"y": DIGITS + 1}, "has the label 11 outside of 0 to 9"),
        ({"y": DIGITS[:9]}, "has 9 labels for 10 images"),
        ({"y": DIGITS / 3}, "has labels of type float64, not whole numbers"),
        ({"y": "cat"}, "has labels of type <U3, not whole numbers"),
        ({"X": PIXELS[..., :0], "y": DIGITS[:0]}, "holds no images|cannot be read"),
    ],
)
def test_a_wrong_mat_file_is_told_in_one_line(tmp_path, changes, said):
    write_mat(tmp_path, "test")
    path = write_mat(tmp_path, **changes)
    with pytest.raises(DataError, match=rf"^{path} ({said})"):
        svhn(DataSource(tmp_path))


def test_a_mat_file_without_its_arrays_is_told_in_one_line(tmp_path):
    write_mat(tmp_path, "test")
    savemat(tmp_path / "train_32x32.mat", {"Z": PIXELS})
    with pytest.raises(DataError, match=r"cannot be read \(KeyError: 'X'\)"):
        svhn(DataSource(tmp_path))


def test_svhn_downloads_only_the_half_that_is_absent(tmp_path, monkeypatch):
    calls = []

    def pretend(root, split, download):
        calls.append((split, download))
        write_mat(root, split)

    monkeypatch.setattr("torchvision.datasets.SVHN", pretend)
    write_mat(tmp_path)
    assert len(svhn(DataSource(tmp_path, download=True)).test) == 10
    assert calls == [("test", True)]


@pytest.fixture
def signs(tmp_path):
    """Red pictures of class 0 and blue ones of class 42, and a test set of one of each."""
    base = tmp_path / "gtsrb" / "GTSRB"
    rows = ["Filename;Width;Height;Roi.X1;ClassId"]
    for label, color in ((0, (255, 0, 0)), (42, (0, 0, 255))):
        for number in range(3):
            path = base / "Training" / f"{label:05d}" / f"{number:05d}.ppm"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30 + number, 50), color).save(path)
        path = base / "Final_Test" / "Images" / f"{label:05d}.ppm"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), color).save(path)
        rows.append(f"{label:05d}.ppm;40;20;5;{label}")
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("\n".join(rows))
    return tmp_path


def test_gtsrb_scales_pictures_and_takes_labels_from_folders_and_table(signs):
    dataset = gtsrb(DataSource(signs), size=20)
    assert dataset.train.images.shape == (6, 3, 20, 20)
    assert dataset.train.labels.tolist() == [0, 0, 0, 42, 42, 42]
    assert dataset.test.labels.tolist() == [0, 42]
    for split in (dataset.train, dataset.test):
        assert (
            split.images[split.labels == 0].float().mean(dim=(0, 2, 3))
            == torch.tensor([255.0, 0.0, 0.0])
        ).all()


def test_gtsrb_scales_as_pillow_does(signs):
    path = signs / "gtsrb" / "GTSRB" / "Training" / "00042" / "00001.ppm"
    pixels = np.random.default_rng(0).integers(0, 256, (47, 31, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    expected = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BILINEAR))
    image = gtsrb(DataSource(signs)).train.images[4]
    assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("Name;ClassId\n00000.ppm;0\n", r"cannot be read \(KeyError: 'Filename'\)"),
        ("Filename;ClassId\n00000.ppm;stop\n", r"cannot be read \(ValueError"),
        ("Filename;ClassId\n00000.ppm;43\n", "has the label 43 outside of 0 to 42"),
        ("Filename;ClassId\n", "holds no images"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(signs, table, said):
    path = signs / "gtsrb" / "GT-final_test.csv"
    path.write_text(table)
    with pytest.raises(DataError, match=f"^{path} {said}"):
        gtsrb(DataSource(signs))


def test_a_picture_or_folder_that_does_not_belong_is_told_in_one_line(signs):
    (signs / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n9.ppm;0\n")
    with pytest.raises(DataError, match=r"Images/9\.ppm cannot be read \(FileNotFoundError"):
        gtsrb(DataSource(signs))
    training = signs / "gtsrb" / "GTSRB" / "Training"
    (training / "00042").rename(training / "stop")
    with pytest.raises(DataError, match=r"Training cannot be read \(ValueError"):
        gtsrb(DataSource(signs))
