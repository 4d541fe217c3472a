"""EMNIST: handwritten digits and letters of many writers in MNIST's format."""

from typing import Literal

from fedsim.datasets import datasets
from fedsim.datasets._files import checked
from fedsim.datasets._idx import read_pairs
from fedsim.types import Dataset, DataSource

NUM_CLASSES = {
    "digits": 10,
    "mnist": 10,
    "letters": 26,
    "balanced": 47,
    "bymerge": 47,
    "byclass": 62,
}


@datasets.register
def emnist(
    source: DataSource,
    *,
    split: Literal["digits", "mnist", "letters", "balanced", "bymerge", "byclass"] = "digits",
) -> Dataset:
    """Grey images, 28 × 28: 280,000 digits, or the letters or both of another `split`.

    Classes: digits and mnist 10, letters 26, balanced and bymerge 47, byclass 62. Read from
    `EMNIST/raw/` below the data root, `emnist-<split>-{train,test}-…-ubyte`, plain or .gz
    (torchvision's layout). Any number of images will do.

    Paper: Cohen, Afshar, Tapson, van Schaik, IJCNN 2017, arXiv:1702.05373.
    Differs: images are turned upright (the files hold them with rows and columns exchanged), and
        the letters' labels 1 … 26 become 0 … 25. The writers' identities are not in these files.
    Raises: DataError if a file is missing or broken.
    """

    def fetch() -> None:
        from torchvision.datasets import EMNIST

        EMNIST(source.root, split=split, download=True)

    folder = source.root.absolute() / "EMNIST" / "raw"
    halves = (f"emnist-{split}-train", f"emnist-{split}-test")
    lowest = 1 if split == "letters" else 0
    train, test = (
        checked(
            place,
            images.transpose(2, 3).contiguous(),
            labels.long() - lowest,
            NUM_CLASSES[split],
        )
        for place, images, labels in read_pairs(
            "emnist", folder, halves, fetch if source.download else None
        )
    )
    return Dataset(train, test, NUM_CLASSES[split])
