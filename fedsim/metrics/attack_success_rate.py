"""Attack success rate: how often the model does what the adversary wants."""

from jaxtyping import Float, Int
from torch import Tensor

from fedsim.metrics import metrics
from fedsim.metrics.accuracy import accuracy


@metrics.declare(higher_is_better=False, bounds=(0.0, 1.0))
def attack_success_rate(logits: Float[Tensor, "b k"], expected: Int[Tensor, " b"]) -> float:
    """The share of rows predicted as the class that the adversary wants for them.

    Which images are measured, and which class is `expected`, is the poison's to say; images that
    already belong to the target class are never among them.

    Paper: Gu et al., 2017, arXiv:1708.06733.
    Raises: ValueError if there are no rows.

    >>> import torch
    >>> attack_success_rate(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    return accuracy(logits, expected)
