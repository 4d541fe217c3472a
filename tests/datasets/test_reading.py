"""What libraries say while a file is read: one line if it fails, nothing if they only warn."""

import warnings

import pytest

from fedsim.datasets._files import reading
from fedsim.errors import DataError


def test_warnings_stay_inside():
    with reading("a.bin"):
        warnings.warn("old format", stacklevel=1)
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard again afterwards", stacklevel=1)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("first line\nsecond line"), "ValueError: first line"),
        (EOFError(), "EOFError"),
        (KeyError("X"), "KeyError: 'X'"),
        (MemoryError("x" * 1000), "MemoryError: " + "x" * 200),
    ],
)
def test_any_exception_becomes_one_line_and_keeps_its_cause(error, said):
    with pytest.raises(DataError) as caught, reading("a.bin"):
        raise error
    assert str(caught.value) == f"a.bin cannot be read ({said}). Put a good copy there."
    assert caught.value.__cause__ is error


def test_an_interruption_is_not_a_broken_file():
    with pytest.raises(KeyboardInterrupt), reading("a.bin"):
        raise KeyboardInterrupt
