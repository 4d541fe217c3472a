"""Pictures in folders and archives."""

import tarfile
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from fedsim.datasets.image_folder import image_folder
from fedsim.errors import DataError
from fedsim.types import DataSource


def picture(path, shade=100, mode="RGB", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, shade if mode != "RGB" else (shade, 0, 0)).save(path)


@pytest.fixture
def pets(tmp_path):
    for half, count in (("train", 4), ("test", 2)):
        for shade, name in ((50, "cat"), (200, "dog")):
            for number in range(count):
                picture(tmp_path / "pets" / half / name / f"{number}.png", shade + number)
    return tmp_path


@pytest.fixture
def flat(tmp_path):
    for shade, name in ((0, "cat"), (100, "dog")):
        for number in range(10):
            picture(tmp_path / "flat" / name / f"{number}.png", shade + number)
    return tmp_path


def load(root, path="pets", **parameters):
    return image_folder(DataSource(root), path=path, **{"size": 8, **parameters})


def reds(split):
    return split.images[:, 0, 0, 0].tolist()


def test_folders_are_classes_and_files_come_in_order(pets):
    dataset = load(pets)
    assert dataset.num_classes == 2
    assert dataset.train.labels.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert reds(dataset.train) == [50, 51, 52, 53, 200, 201, 202, 203]
    assert reds(dataset.test) == [50, 51, 200, 201]


def test_an_absolute_path_needs_no_root(pets, tmp_path):
    dataset = load(tmp_path / "elsewhere", str(pets / "pets"))
    assert len(dataset.train) == 8


@pytest.mark.parametrize("prefix", ["", "./", "outer/"])
def test_an_archive_is_read_like_the_folder(pets, prefix):
    with tarfile.open(pets / "pets.tar.gz", "w:gz") as archive:
        archive.add(pets / "pets" / "test", f"{prefix}test")
        archive.add(pets / "pets" / "train", f"{prefix}train")
    folder, packed = load(pets), load(pets, "pets.tar.gz")
    assert torch.equal(folder.train.images, packed.train.images)
    assert torch.equal(folder.test.labels, packed.test.labels)


def test_grey_has_one_channel_and_pictures_are_scaled(pets):
    dataset = load(pets, color="grey", size=5)
    assert dataset.train.images.shape == (8, 1, 5, 5)
    assert dataset.train.images[0].unique().tolist() == [round(0.299 * 50)]


def test_one_folder_is_split_evenly_and_always_the_same_way(flat):
    dataset = load(flat, "flat", test_fraction=0.3)
    assert reds(dataset.test) == [0, 3, 6, 100, 103, 106]
    assert reds(dataset.train) == [1, 2, 4, 5, 7, 8, 9, 101, 102, 104, 105, 107, 108, 109]


def test_some_of_everything_is_kept_on_both_sides(tmp_path):
    picture(tmp_path / "two" / "a" / "0.png")
    picture(tmp_path / "two" / "b" / "0.png")
    for fraction in (0.01, 0.99):
        dataset = load(tmp_path, "two", test_fraction=fraction)
        assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (1, 1, 2)


def test_a_folder_train_alone_is_split_as_one_folder(pets):
    (pets / "pets" / "test").rename(pets / "kept")
    dataset = load(pets)
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (6, 2, 2)


def test_numbered_classes_are_ordered_by_value(tmp_path):
    for name in range(12):
        for half in ("train", "test"):
            picture(tmp_path / "n" / half / str(name) / "x.png", shade=10 * name)
    assert reds(load(tmp_path, "n").train) == [10 * name for name in (0, 1, 10, 11, *range(2, 10))]
    assert load(tmp_path, "n").train.labels.tolist() == [0, 1, 10, 11, *range(2, 10)]


def test_what_is_no_picture_is_passed_over(pets):
    (pets / "pets" / "README.txt").write_text("hello")
    (pets / "pets" / "train" / "cat" / ".hidden.png").write_text("junk")
    (pets / "pets" / "train" / ".cache").mkdir()
    picture(pets / "pets" / "val" / "cat" / "0.png")
    assert len(load(pets).train) == 8


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_every_eight_bit_kind_of_picture_is_read(pets, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    picture(pets / "pets" / "train" / "cat" / f"9.{suffix}", 1, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load(pets).train) == 9


@pytest.mark.parametrize(("mode", "suffix"), [("I;16", "png"), ("F", "tiff"), ("I", "tiff")])
def test_pictures_of_more_than_eight_bits_are_refused(pets, mode, suffix):
    path = pets / "pets" / "train" / "cat" / f"9.{suffix}"
    picture(path, 1000, mode)
    with pytest.raises(DataError, match=rf"^{path} has pixels of mode {mode}, more than 8 bits"):
        load(pets)


def test_a_cut_off_picture_is_named(pets):
    path = pets / "pets" / "test" / "dog" / "1.jpg"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=rf"^{path} cannot be read \(OSError: .*truncated"):
        load(pets)


def test_layouts_that_make_no_sense_are_told_in_one_line(pets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds 0 pictures, not at least 2"):
        load(tmp_path, "empty")
    picture(tmp_path / "single" / "cat" / "0.png")
    picture(tmp_path / "single" / "cat" / "1.png")
    with pytest.raises(DataError, match="single has pictures of 1 classes, not of at least 2"):
        load(tmp_path, "single")
    picture(tmp_path / "half" / "train" / "cat" / "0.png")
    picture(tmp_path / "half" / "val" / "cat" / "0.png")
    with pytest.raises(DataError, match="has a folder train but no pictures in a folder test"):
        load(tmp_path, "half")
    picture(pets / "pets" / "test" / "cow" / "0.png")
    with pytest.raises(DataError, match="pets has the class cow in the folder test alone"):
        load(pets)
    picture(pets / "pets" / "train" / "loose.png")
    with pytest.raises(DataError, match=r"pets/train/loose\.png lies in no class folder"):
        load(pets)


def test_a_file_that_is_no_archive_is_named(tmp_path):
    (tmp_path / "pets").write_text("hello")
    with pytest.raises(DataError, match=rf"^{tmp_path}/pets cannot be read \(ReadError"):
        load(tmp_path)
