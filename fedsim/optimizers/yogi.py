"""FedYogi: FedAdam whose rates grow no faster than the updates call for."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.optimizers import optimizers
from fedsim.types import State


@optimizers.register
def yogi(
    update: Float[Tensor, " d"],
    state: State,
    *,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99,
    tau: Annotated[float, Field(gt=0)] = 1e-3,
) -> tuple[Float[Tensor, " d"], State]:
    """The decaying mean of the updates over the root of v, which moves by at most (1 − β₂) u².

    m ← β₁ m + (1 − β₁) u,  v ← v − (1 − β₂) u² sign(v − u²),  x ← x + lr · m / (√v + τ); m starts
    at 0 and v at τ², the least that the paper allows. No bias correction, as in the paper. `tau` is
    in the unit of the updates; the smaller it is, the more the rates adapt.

    Paper: Reddi et al., ICLR 2021, arXiv:2003.00295 (FedYogi).

    >>> yogi(torch.tensor([2.0]), {}, beta2=0.25, tau=1.0)[0]
    tensor([0.0667])
    """
    m = state["m"] if state else torch.zeros_like(update)
    v = state["v"] if state else torch.full_like(update, tau**2)
    square = update.square()
    m = beta1 * m + (1 - beta1) * update
    v = v - (1 - beta2) * square * torch.sign(v - square)
    return m / (v.sqrt() + tau), {"m": m, "v": v}
