"""A Little Is Enough: hide inside the spread of the updates, all on the same side of the mean."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.attacks import attacks
from fedsim.attacks._spread import deviations
from fedsim.errors import PreconditionError
from fedsim.tensors import per_coordinate
from fedsim.types import AdversaryView


@attacks.register
def little_is_enough(view: AdversaryView, *, z: float | None = None) -> Float[Tensor, "m d"]:
    """The mean of the adversary's own rows, less `z` of their standard deviations, as every row.

    u_i ← μ − z σ, coordinate by coordinate; μ, σ are those of the own rows (one row: σ = 0).
    Without z, it is the one behind which s more clients make a majority of the n of the round:
    Φ(z) = (n − m − s) / (n − m), s = ⌊n/2 + 1⌋ − m; n = 50, m = 24 give 1.43. Few malicious
    clients make z negative.

    Paper: Baruch et al., NeurIPS 2019, arXiv:1902.06156.
    Differs: z σ is taken from updates, where the authors' code takes it from gradients; a positive
        z thus points the other way.
    Raises: PreconditionError (a ValueError) if n and m leave no finite z, as when the malicious
        are a majority; in such a round of a run they send their own rows.

    >>> view = AdversaryView(torch.tensor([[1.0, 4.0], [3.0, 4.0]]), 10, torch.zeros(2))
    >>> little_is_enough(view, z=1.5)
    tensor([[0.5000, 4.0000],
            [0.5000, 4.0000]])
    """
    if z is None:
        z = majority_quantile(view.num_clients, len(view.own))

    def shifted(values: Tensor) -> Tensor:
        values = values.double()
        return values.mean(dim=0) - z * deviations(values)

    return per_coordinate(view.own, shifted).expand_as(view.own)


def majority_quantile(n: int, m: int) -> float:
    """The largest shift, in standard deviations, that a majority of `n` clients still covers."""
    supporters = n // 2 + 1 - m
    share = (n - m - supporters) / (n - m) if n > m else math.nan
    z = float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
    if not math.isfinite(z):
        raise PreconditionError(
            f"little_is_enough: no finite z for n={n} clients of which m={m} are malicious "
            f"(supporters needed: {supporters}). Give z"
        )
    return z
