"""CIFAR-100: small photographs of a hundred kinds of things."""

from fedsim.datasets import datasets
from fedsim.datasets._cifar import read_cifar
from fedsim.types import Dataset, DataSource


@datasets.register
def cifar100(source: DataSource) -> Dataset:
    """60,000 colour images, 32 × 32, 100 (fine) classes: 50,000 for training, 10,000 for testing.

    Read from `cifar-100-python/` below the data root, or from `cifar-100-python.tar.gz` there.
    The batches are pickles, so they are opened only if they are the published files, bit by bit.

    Paper: Krizhevsky, technical report of the University of Toronto, 2009.
    Raises: DataError if a file is missing or not the published one.
    """
    from torchvision.datasets import CIFAR100

    train, test = read_cifar("cifar100", source, CIFAR100, "fine_labels", num_classes=100)
    return Dataset(train, test, num_classes=100)
