"""CIFAR-10: small photographs of animals and vehicles."""

from fedsim.datasets import datasets
from fedsim.datasets._cifar import read_cifar
from fedsim.types import Dataset, DataSource


@datasets.register
def cifar10(source: DataSource) -> Dataset:
    """60,000 colour images, 32 × 32, 10 classes: 50,000 for training, 10,000 for testing.

    Read from `cifar-10-batches-py/` below the data root, or from `cifar-10-python.tar.gz` there.
    The batches are pickles, so they are opened only if they are the published files, bit by bit.

    Paper: Krizhevsky, technical report of the University of Toronto, 2009.
    Raises: DataError if a file is missing or not the published one.
    """
    from torchvision.datasets import CIFAR10

    train, test = read_cifar("cifar10", source, CIFAR10, "labels", num_classes=10)
    return Dataset(train, test, num_classes=10)
