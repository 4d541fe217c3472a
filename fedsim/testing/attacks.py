"""The laws of attacks."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fedsim.attacks import attacks
from fedsim.library import Named, choose
from fedsim.seeding import seeded
from fedsim.tensors import load_params
from fedsim.testing.aggregators import make_rows
from fedsim.testing.laws import BrokenError, Violation, same, same_bits, violations
from fedsim.types import AdversaryView

Attack = Callable[[AdversaryView], Any]


def check_attack(attack: Named, **parameters: Any) -> list[Violation]:
    """The laws of attacks that `attack` breaks; an empty list is good.

    shapes: rows (m, d) in the dtype of the own rows, and perhaps a state, a dict. finite: of finite
    rows. in_place: what is given is not written into. determinism: the same view gives the same
    bits. It is granted all knowledge, with the mean as the defence, and a small network with images
    (8, 1, 2, 2) of two classes.

    Raises: ValueError if there is no such attack, or it does not take the parameters.

    >>> check_attack("sign_flip")
    []
    """
    call = choose(attacks, attack, parameters).build()
    laws = {
        "shapes": _shapes,
        "finite": _finite,
        "in_place": _in_place,
        "determinism": _determinism,
    }
    return violations({law: partial(check, call) for law, check in laws.items()})


def _shapes(attack: Attack) -> None:
    for m, h in ((1, 9), (3, 7), (2, 2)):
        for dtype in (torch.float32, torch.float64):
            if (got := _sent(attack, make_adversary(m, h, dtype)).dtype) != dtype:
                raise BrokenError(f"must return rows of {dtype} as the own ones; got {got}")


def _finite(attack: Attack) -> None:
    if not _sent(attack, make_adversary(3, 7)).isfinite().all():
        raise BrokenError("makes rows that are not finite of rows that are")


def _in_place(attack: Attack) -> None:
    view = make_adversary(3, 7)
    given = [view.own, view.benign, view.params, view.previous_update]
    before = [None if tensor is None else tensor.clone() for tensor in given]
    _sent(attack, view)
    same(before, given)


def _determinism(attack: Attack) -> None:
    same_bits(lambda: _sent(attack, make_adversary(3, 7)))


def _sent(attack: Attack, view: AdversaryView) -> Tensor:
    sent = attack(view)
    rows, state = sent if isinstance(sent, tuple) else (sent, {})
    if not isinstance(rows, Tensor) or rows.shape != view.own.shape:
        got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise BrokenError(f"must return rows {tuple(view.own.shape)}; got {got}")
    if not isinstance(state, dict):
        raise BrokenError(f"the state must be a dict; got {type(state).__name__}")
    return rows


def make_adversary(m: int, h: int, dtype: torch.dtype = torch.float32) -> AdversaryView:
    """An adversary of `m` clients among `h` others, which knows all there is to know."""
    own, benign = make_rows(m, seed=7).to(dtype), make_rows(h, seed=8).to(dtype)
    params = make_rows(1, seed=9)[0].to(dtype)
    with seeded(4, "laws"):  # its first parameters are drawn, and replaced
        model = small_network().to(dtype)
    load_params(model, params)
    draws = torch.Generator().manual_seed(4)
    images = torch.rand(8, 1, 2, 2, generator=draws).to(dtype)
    return AdversaryView(
        own=own,
        num_clients=m + h,
        params=params,
        benign=benign,
        aggregate=lambda rows: rows.mean(dim=0),
        previous_update=make_rows(1, seed=10)[0].to(dtype),
        round=2,
        generator=torch.Generator().manual_seed(3),
        shares=own.new_full((m,), 1 / (m + h)),
        benign_ids=tuple(range(m, m + h)),
        model=model.eval(),
        data=(images, torch.arange(8) % 2),
    )


def small_network() -> nn.Module:
    """A network of two layers for images (1, 2, 2) and two classes, as wide as the rows are."""
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
