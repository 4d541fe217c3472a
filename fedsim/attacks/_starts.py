"""The attacks that ask nothing of the rule, from which `adaptive` starts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.attacks._spread import known_rows
from fedsim.attacks.boost import boost
from fedsim.attacks.fang_trimmed_mean import fang_trimmed_mean
from fedsim.attacks.inner_product_manipulation import inner_product_manipulation
from fedsim.attacks.little_is_enough import little_is_enough, majority_quantile
from fedsim.attacks.sign_flip import sign_flip
from fedsim.attacks.zero import zero
from fedsim.tensors import norms
from fedsim.types import AdversaryView

Start = Callable[[AdversaryView, Tensor], Tensor]

NOISE = 100.0  # the length of the noise, in lengths of the longest honest row


def starting_rows(
    view: AdversaryView, direction: Float[Tensor, " d"]
) -> Iterator[tuple[str, Float[Tensor, "m d"]]]:
    """Names and rows, made one after the other; what cannot be made of this view is left out."""
    yield "own", view.own
    yield from _hidden(view)
    for name, start in STARTS.items():
        try:
            rows = start(view, direction)
        except ValueError:  # no finite z, a share that is not positive
            continue
        yield name, rows


def _hidden(view: AdversaryView) -> Iterator[tuple[str, Tensor]]:
    """min_max and min_sum in all three directions, from one product of the deviations."""
    known = known_rows(view)
    mean = known.mean(dim=0)
    away = known - mean
    scale = _largest(away)
    away = away / scale
    products = away @ away.T
    squares = products.diagonal()
    apart = (squares[:, None] + squares - 2 * products).max()
    for name, heading in (("std", away.square().sum(dim=0).sqrt()), ("unit", mean), ("sign", mean)):
        way = -(heading.sign() if name == "sign" else heading)
        way = way / _largest(way)
        unit: Tensor = way / way.norm().clamp_min(torch.finfo(way.dtype).tiny)
        along = away @ unit
        most = (along + (along.square() + (apart - squares).clamp_min(0)).sqrt()).min()
        for attack, distance in (("min_max", most), ("min_sum", squares.max().clamp_min(0).sqrt())):
            yield f"{attack} {name}", (mean + distance * scale * unit).expand_as(view.own)


def _largest(values: Tensor) -> Tensor:
    """What to divide by so that no square overflows or vanishes."""
    largest = values.abs().max()
    return torch.where(largest > 0, largest, 1)


def _benign_deviations(view: AdversaryView, _: Tensor) -> Tensor:
    """little_is_enough with the statistics of the benign rows."""
    z = majority_quantile(view.num_clients, len(view.own))
    shifted: Tensor = little_is_enough(replace(view, own=known_rows(view)), z=z)
    return shifted[:1].expand_as(view.own)


def _noise(view: AdversaryView, direction: Tensor) -> Tensor:
    length = norms(torch.cat([known_rows(view), view.own])).max()
    unit: Tensor = direction / direction.norm()
    return (NOISE * torch.where(length > 0, length, 1) * unit).expand_as(view.own)


def _within(view: AdversaryView, _: Tensor) -> Tensor:
    low, high = known_rows(view).aminmax(dim=0)
    return view.own.clamp(low, high)


STARTS: Mapping[str, Start] = {
    "boosted": lambda view, _: boost(view, factor="auto"),
    "little_is_enough": lambda view, _: little_is_enough(view),
    "benign deviations": _benign_deviations,
    "fang_trimmed_mean": lambda view, _: fang_trimmed_mean(view),
    "highest": lambda view, _: known_rows(view).amax(dim=0).expand_as(view.own),
    "lowest": lambda view, _: known_rows(view).amin(dim=0).expand_as(view.own),
    "within": _within,
    "flipped": lambda view, _: sign_flip(view),
    "boosted and flipped": lambda view, _: -boost(view, factor="auto"),
    "inner product": lambda view, _: inner_product_manipulation(view),
    "zero": lambda view, _: zero(view),
    "noise": _noise,
}
"""`highest`, `lowest`: the benign extremes of every coordinate; `within`: own rows cut to them."""
