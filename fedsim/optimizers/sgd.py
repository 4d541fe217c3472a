"""Plain averaging: the server steps along the aggregate itself."""

from jaxtyping import Float
from torch import Tensor

from fedsim.optimizers import optimizers
from fedsim.types import State


@optimizers.register
def sgd(update: Float[Tensor, " d"], state: State) -> tuple[Float[Tensor, " d"], State]:
    """The update as it is: x ← x + lr · u.

    Paper: McMahan et al., AISTATS 2017, arXiv:1602.05629 (FedAvg, there with lr = 1).

    >>> import torch
    >>> sgd(torch.tensor([0.5]), {})[0]
    tensor([0.5000])
    """
    return update, state
