"""What a broken law is, and the two laws that all kinds share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fedsim.seeding import seeded


class Violation(NamedTuple):
    """A law that does not hold, and what was seen."""

    law: str
    text: str

    def __str__(self) -> str:
        return f"{self.law}: {self.text}"


class BrokenError(Exception):
    """What was seen where a law does not hold."""


Laws = Mapping[str, Callable[[], None]]
"""Name of a law → a check that raises a BrokenError."""


def violations(laws: Laws) -> list[Violation]:
    """Those that are broken. A law under which the function raises is broken."""
    return [violation for law, check in laws.items() for violation in _tried(law, check)]


def _tried(law: str, check: Callable[[], None]) -> Iterator[Violation]:
    try:
        check()
    except BrokenError as error:
        yield Violation(law, str(error))
    except Exception as error:  # whatever a user's function raises is what is to be told
        yield Violation(law, f"raises {type(error).__name__}: {error}")


def same_bits(compute: Callable[[], Tensor]) -> None:
    """The same twice, whatever torch's global generator holds."""
    with seeded(1, "laws"):
        first = compute()
    with seeded(2, "laws"):
        again = compute()
    if not torch.equal(first, again):
        raise BrokenError("twice the same gives different bits; draw from view.generator")


def same(before: Sequence[Any], after: Sequence[Any]) -> None:
    """Nothing was written into tensors."""
    for one, other in zip(before, after, strict=True):
        if isinstance(one, Tensor) and not torch.equal(one, other):
            raise BrokenError("writes into what it was given")


def copied(value: Any) -> Any:
    """A copy of a tensor; anything else as it is."""
    return value.clone() if isinstance(value, Tensor) else value


def alike(one: Tensor, other: Tensor) -> bool:
    """Equal up to what rounding explains between two orders of the same sum."""
    return torch.allclose(one, other, rtol=1e-4, atol=1e-4)
