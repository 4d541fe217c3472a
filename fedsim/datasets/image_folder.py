"""Image folder: anybody's pictures, one folder per class."""

from pathlib import Path
from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from fedsim.datasets import datasets
from fedsim.datasets._even import evenly_spaced
from fedsim.datasets._files import broken, checked
from fedsim.datasets._pictures import Color, Encoded, Pictures, decode, find_pictures
from fedsim.errors import DataError
from fedsim.strict import Positive
from fedsim.types import Dataset, DataSource, Split


@datasets.register
def image_folder(
    source: DataSource,
    *,
    path: str,
    size: Positive = 32,
    color: Color = "rgb",
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2,
) -> Dataset:
    """The pictures `<path>/train/<class>/*` and `<path>/test/<class>/*`, scaled to `size` pixels.

    `path` is a folder or a tar archive, relative to the data root unless absolute. Without folders
    `train` and `test` it holds `<path>/<class>/*`, and the share `test_fraction` of each class
    (evenly spaced in the order of the file names, so always the same) is for testing. Classes are
    numbered in the order of their names, by value where all are whole numbers. Pictures become
    `size` × `size` whatever their shape, `color` grey gives one channel. Files without a picture's
    suffix and names that start with a dot are passed over; a lone outer folder is looked through.

    Paper: Folklore.
    Raises: DataError if nothing is there or a picture cannot be read.
    """
    place = (source.root / path).absolute()
    pictures = find_pictures(place)
    if pictures is None:
        advice = "Put train/<class>/ and test/<class>/ with pictures there."
        raise DataError(f"image_folder is not in {place}. {advice}")
    train, test = _halves(place, pictures, test_fraction)
    names = sorted({sample.name for sample in (*train, *test)})
    if len(names) < 2:
        raise broken(place, f"has pictures of {len(names)} classes, not of at least 2")
    if all(name.isdecimal() for name in names):
        names.sort(key=int)
    splits = [_split(place, half, names, size, color) for half in (train, test)]
    return Dataset(splits[0], splits[1], len(names))


class Sample(NamedTuple):
    """A picture, the name of its class, and the path to show in an error."""

    name: str
    path: str
    picture: Encoded


def _halves(place: Path, pictures: Pictures, fraction: float) -> tuple[list[Sample], list[Sample]]:
    heads = {key[0] for key in pictures}
    if {"train", "test"} <= heads:
        train, test = (_samples(place, pictures, half) for half in ("train", "test"))
        if alien := sorted({s.name for s in test} - {s.name for s in train}):
            raise broken(place, f"has the class {alien[0]} in the folder test alone")
        return train, test
    if "train" in heads:
        raise broken(place, "has a folder train but no pictures in a folder test")
    samples = _samples(place, pictures)
    if len(samples) < 2:
        raise broken(place, f"holds {len(samples)} pictures, not at least 2")
    index = {name: label for label, name in enumerate(sorted(heads))}
    labels = torch.tensor([index[sample.name] for sample in samples])
    num_test = min(max(1, round(fraction * len(samples))), len(samples) - 1)
    chosen = evenly_spaced(labels, num_test).tolist()
    pairs = list(zip(samples, chosen, strict=True))
    return [s for s, is_test in pairs if not is_test], [s for s, is_test in pairs if is_test]


def _samples(place: Path, pictures: Pictures, half: str | None = None) -> list[Sample]:
    """The samples of one half, or of all where there are no halves."""
    depth = 0 if half is None else 1
    samples = []
    for key, picture in pictures.items():
        if half is None or key[0] == half:
            path = str(place.joinpath(*key))
            if len(key) < depth + 2:
                raise broken(path, "lies in no class folder")
            samples.append(Sample(key[depth], path, picture))
    return samples


def _split(place: Path, samples: list[Sample], names: list[str], size: int, color: Color) -> Split:
    images = decode([(sample.path, sample.picture) for sample in samples], size, color)
    index = {name: label for label, name in enumerate(names)}
    labels = torch.tensor([index[sample.name] for sample in samples], dtype=torch.long)
    return checked(place, images, labels, len(names))
