"""Every random choice comes from a generator derived from (seed, purpose, keys); none is global."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, purpose: str, *keys: int) -> int:
    """A 63-bit seed that depends on every argument, the same on every machine.

    torch's CPU generator takes its lower 32 bits: among very many streams two may be the same.
    """
    text = "/".join([str(seed), purpose, *map(str, keys)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, purpose: str, *keys: int) -> torch.Generator:
    """A CPU generator for one purpose, for example `generator(7, "train", round, client)`."""
    return torch.Generator().manual_seed(derive(seed, purpose, *keys))


@contextmanager
def seeded(seed: int, purpose: str, *keys: int) -> Iterator[None]:
    """Seed torch's global generator inside the block, for module initialisers; restore it after.

    `torch.manual_seed` writes down the call stack for every kind of device that is not in use,
    which takes a millisecond or more: much beside a visit to a small model.
    """
    number = derive(seed, purpose, *keys)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(number)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(number)
        yield
