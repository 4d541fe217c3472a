"""FedAdam: the server steps along the aggregates, each coordinate at its own rate."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.optimizers import optimizers
from fedsim.types import State


@optimizers.register
def adam(
    update: Float[Tensor, " d"],
    state: State,
    *,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    tau: Annotated[float, Field(gt=0)] = 1e-3,
) -> tuple[Float[Tensor, " d"], State]:
    """The mean of the updates over the root of the mean of their squares, both decaying.

    m ← β₁ m + (1 − β₁) u,  v ← β₂ v + (1 − β₂) u²,  x ← x + lr · m / (√v + τ); m starts at 0 and
    v at τ², the least that the paper allows. No bias correction, as in the paper. `tau` is in the
    unit of the updates; the smaller it is, the more the rates adapt.

    Paper: Reddi et al., ICLR 2021, arXiv:2003.00295 (FedAdam).

    >>> adam(torch.tensor([2.0]), {}, beta2=0.0, tau=1.0)[0]
    tensor([0.0667])
    """
    m = state["m"] if state else torch.zeros_like(update)
    v = state["v"] if state else torch.full_like(update, tau**2)
    m = beta1 * m + (1 - beta1) * update
    v = beta2 * v + (1 - beta2) * update.square()
    return m / (v.sqrt() + tau), {"m": m, "v": v}
