"""Files that data sets read: one line for what is missing, unreadable or wrong."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from fedsim.errors import DataError
from fedsim.types import Split


@contextmanager
def reading(place: object) -> Iterator[None]:
    """Turn whatever a library raises into a DataError naming `place`, and keep its warnings in."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataError:
        raise
    except Exception as error:
        raise broken(place, f"cannot be read ({_short(error)})") from error


def broken(place: object, what: str) -> DataError:
    """The error for a file that is there but wrong."""
    return DataError(f"{place} {what}. Put a good copy there.")


def require(
    name: str, folder: Path, files: Sequence[str], fetch: Callable[[], object] | None
) -> None:
    """Make sure `files` are in `folder`; `fetch` downloads them, None means that is not allowed."""
    if fetch and _absent(folder, files):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fetch()
        except Exception as error:
            advice = f"Put {', '.join(files)} there."
            raise DataError(
                f"{name} could not be downloaded into {folder} ({_short(error)}). {advice}"
            ) from error
    if absent := _absent(folder, files):
        raise DataError(
            f"{name} is not in {folder}. Put {', '.join(absent)} there, "
            "or run once online with --download."
        )


def checked(place: object, images: Tensor, labels: Tensor, num_classes: int) -> Split:
    """A split of as many images as labels, at least one, labels in 0 … K − 1; else DataError."""
    if len(images) != len(labels):
        raise broken(place, f"has {len(labels)} labels for {len(images)} images")
    if len(labels) == 0:
        raise broken(place, "holds no images")
    labels = labels.long()
    for label in (int(labels.min()), int(labels.max())):
        if not 0 <= label < num_classes:
            raise broken(place, f"has the label {label} outside of 0 to {num_classes - 1}")
    return Split(images, labels)


def _absent(folder: Path, files: Sequence[str]) -> list[str]:
    return [file for file in files if not os.path.exists(folder / file)]


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(": ")
