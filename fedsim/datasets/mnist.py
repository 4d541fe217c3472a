"""MNIST: handwritten digits."""

from fedsim.datasets import datasets
from fedsim.datasets._idx import mnist_like
from fedsim.types import Dataset, DataSource


@datasets.register
def mnist(source: DataSource) -> Dataset:
    """70,000 grey images of digits, 28 × 28, 10 classes: 60,000 for training, 10,000 for testing.

    Read from `MNIST/raw/` below the data root, four idx files, plain or .gz (torchvision's layout).
    Any number of images will do.

    Paper: LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998.
    Raises: DataError if a file is missing or broken.
    """

    def fetch() -> None:
        from torchvision.datasets import MNIST

        MNIST(source.root, download=True)

    folder = source.root.absolute() / "MNIST" / "raw"
    train, test = mnist_like("mnist", folder, fetch if source.download else None)
    return Dataset(train, test, num_classes=10)
