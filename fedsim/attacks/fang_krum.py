"""Fang et al.'s attack on Krum: the largest step against the benign change that Krum selects."""

import math
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.attacks import attacks
from fedsim.attacks._defense import outcome_with
from fedsim.attacks._spread import known_rows
from fedsim.tensors import norms, squared_distances
from fedsim.types import AdversaryView

_SMALLEST = 1e-5


@attacks.needs("defense")
def fang_krum(
    view: AdversaryView, *, epsilon: Annotated[float, Field(ge=0)] = 0.01
) -> Float[Tensor, "m d"]:
    """The longest rows against the signs of the benign mean that the rule still selects.

    u′_1 = −λ s with s = sign(mean of the benign rows), and u′_i = u′_1 + e_i with ‖e_i‖ ≤ ε for the
    other attackers, who support it. λ starts at the most that Krum could select,

        λ₀ = √(min_i Σ_{l ∈ N_i} ‖u_l − u_i‖² / ((n − 2m − 1) d)) + max_i ‖u_i‖ / √d

    over benign rows i with N_i the n − m − 2 nearest others, and is halved until the rule selects;
    below 1e-5 the attack is given up and the own rows are sent. Selected means that the aggregate
    of benign and crafted rows is no farther from a crafted row than from any benign one: what Krum
    returns is the row itself, and rules that average or clip have a nearest row too.

    Paper: Fang et al., USENIX Security 2020, arXiv:1911.11815.
    Differs: updates in place of models, the received model being 0; s of the benign mean, not of
    the model that the rule would give; n − 2m − 1 counts as 1 where it is less; whether the rule
    selects is asked with the supporters in place, not m times u′_1; sign(0) = 0. Where the search
    gives up, the own rows are sent. ε and 1e-5 are lengths, the paper's for models: they do not
    shrink with the updates, so short updates have relatively loose supporters and an early end.

    Args:
        epsilon: ε, L2, same unit as updates.

    >>> import torch
    >>> benign, known = torch.ones(4, 1), {"aggregate": lambda rows: rows[-1]}
    >>> fang_krum(AdversaryView(torch.ones(1, 1), 5, torch.zeros(1), benign, **known))
    tensor([[-1.]])
    """
    known = known_rows(view)
    sign = known.mean(dim=0).sign()
    supporters = _offsets(view.own, epsilon, view.generator)
    size = _largest(known, len(view.own))
    while size >= _SMALLEST:
        rows = supporters - size * sign
        if _selects(view, rows):
            return rows
        size /= 2
    return view.own


def _offsets(
    own: Float[Tensor, "m d"], epsilon: float, generator: torch.Generator
) -> Float[Tensor, "m d"]:
    """0 for the first row, then vectors of random directions with lengths uniform in [0, ε]."""
    offsets = torch.zeros(own.shape, dtype=own.dtype)
    for row in offsets[1:]:
        row.normal_(generator=generator)
        length = epsilon * torch.rand((), generator=generator, dtype=own.dtype)
        row.mul_(length / row.norm().clamp_min(torch.finfo(own.dtype).tiny))
    return offsets.to(own.device)


def _largest(benign: Float[Tensor, "h d"], m: int) -> float:
    """λ₀ for m attackers."""
    h, d = benign.shape
    nearest = squared_distances(benign).sort(dim=1).values[:, 1 : h - 1].sum(dim=1)
    near = math.sqrt(float(nearest.min()) / (max(h - m - 1, 1) * d))
    far = float(norms(benign).max()) / math.sqrt(d)
    return min(near + far, torch.finfo(benign.dtype).max)


def _selects(view: AdversaryView, rows: Float[Tensor, "m d"]) -> bool:
    update = outcome_with(view, rows)
    if update is None:
        return False
    everyone = rows if view.benign is None else torch.cat([rows, view.benign])
    apart = norms(everyone - update)
    return bool(apart[: len(rows)].min() <= apart.min())
