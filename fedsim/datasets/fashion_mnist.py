"""Fashion-MNIST: pieces of clothing in MNIST's format."""

from fedsim.datasets import datasets
from fedsim.datasets._idx import mnist_like
from fedsim.types import Dataset, DataSource


@datasets.register
def fashion_mnist(source: DataSource) -> Dataset:
    """70,000 grey images of clothing, 28 × 28, 10 classes: 60,000 for training, 10,000 to test.

    Read from `FashionMNIST/raw/` below the data root, four idx files, plain or .gz (torchvision's
    layout). Any number of images will do.

    Paper: Xiao, Rasul, Vollgraf, 2017, arXiv:1708.07747.
    Raises: DataError if a file is missing or broken.
    """

    def fetch() -> None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(source.root, download=True)

    folder = source.root.absolute() / "FashionMNIST" / "raw"
    train, test = mnist_like("fashion_mnist", folder, fetch if source.download else None)
    return Dataset(train, test, num_classes=10)
