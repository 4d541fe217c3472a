"""Cross-entropy, the loss that clients minimise."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.metrics import metrics


@metrics.declare(higher_is_better=False, bounds=(0.0, None))
def loss(logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> float:
    """The mean cross-entropy in nats: the mean of −log softmax(logits)[label].

    It is not finite where the model has diverged, and NaN without any row.

    Paper: Folklore.

    >>> import torch
    >>> round(loss(torch.zeros(3, 10), torch.tensor([0, 4, 9])), 4)
    2.3026
    """
    return cross_entropy(logits.double(), labels).item()
