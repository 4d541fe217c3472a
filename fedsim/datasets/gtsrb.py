"""GTSRB: German traffic signs."""

import csv
from pathlib import Path

import torch

from fedsim.datasets import datasets
from fedsim.datasets._files import checked, reading, require
from fedsim.datasets._pictures import Encoded, decode
from fedsim.strict import Positive
from fedsim.types import Dataset, DataSource, Split

NUM_CLASSES = 43
FILES = ("GTSRB/Training", "GTSRB/Final_Test/Images", "GT-final_test.csv")


@datasets.register
def gtsrb(source: DataSource, *, size: Positive = 32) -> Dataset:
    """39,270 colour images of traffic signs, scaled to `size` × `size` pixels, 43 classes.

    26,640 are for training, 12,630 for testing. Read from `gtsrb/` below the data root:
    `GTSRB/Training/<class>/*.ppm`, `GTSRB/Final_Test/Images/*.ppm`, `GT-final_test.csv`
    (torchvision's layout). Any number of images will do.

    Paper: Stallkamp, Schlipsing, Salmen, Igel, Neural Networks 2012.
    Differs: whole pictures are scaled (bilinear), not cut to the sign's outline first.
    Raises: DataError if a file is missing or broken.
    """

    def fetch() -> None:
        from torchvision.datasets import GTSRB

        GTSRB(source.root, split="train", download=True)
        GTSRB(source.root, split="test", download=True)

    folder = source.root.absolute() / "gtsrb"
    require("gtsrb", folder, FILES, fetch if source.download else None)
    train = _split(folder / FILES[0], _training(folder / FILES[0]), size)
    test = _split(folder / FILES[2], _testing(folder / FILES[2], folder / FILES[1]), size)
    return Dataset(train, test, NUM_CLASSES)


def _training(folder: Path) -> list[tuple[Path, int]]:
    with reading(folder):
        return [(file, int(file.parent.name)) for file in sorted(folder.glob("*/*.ppm"))]


def _testing(table: Path, folder: Path) -> list[tuple[Path, int]]:
    with reading(table), table.open(newline="") as stream:
        rows = csv.DictReader(stream, delimiter=";")
        return [(folder / row["Filename"], int(row["ClassId"])) for row in rows]


def _split(place: Path, samples: list[tuple[Path, int]], size: int) -> Split:
    pictures: list[tuple[str, Encoded]] = [(str(file), file) for file, _ in samples]
    labels = torch.tensor([label for _, label in samples], dtype=torch.long)
    return checked(place, decode(pictures, size, "rgb"), labels, NUM_CLASSES)
