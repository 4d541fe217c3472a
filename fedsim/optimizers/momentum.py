"""FedAvgM: the server steps along a decaying sum of the aggregates."""

from typing import Annotated

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.optimizers import optimizers
from fedsim.types import State


@optimizers.register
def momentum(
    update: Float[Tensor, " d"],
    state: State,
    *,
    beta: Annotated[float, Field(ge=0, lt=1)] = 0.9,
) -> tuple[Float[Tensor, " d"], State]:
    """The velocity after this update: v ← β v + u, then x ← x + lr · v. It starts at 0.

    Paper: Hsu et al., 2019, arXiv:1909.06335 (FedAvgM).

    >>> import torch
    >>> momentum(torch.tensor([1.0]), {"velocity": torch.tensor([2.0])}, beta=0.5)[0]
    tensor([2.])
    """
    velocity = beta * state["velocity"] + update if state else update.clone()
    return velocity, {"velocity": velocity}
