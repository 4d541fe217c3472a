"""Accuracy: how often the model is right."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedsim.metrics import metrics


@metrics.declare(higher_is_better=True, bounds=(0.0, 1.0))
def accuracy(logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> float:
    """The share of rows whose largest logit is that of the label; equal ones go to the lowest.

    A row with a NaN predicts nothing: a model that has diverged is right nowhere.

    Paper: Folklore.
    Raises: ValueError if there are no rows.

    >>> import torch
    >>> accuracy(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    if len(labels) == 0:
        raise ValueError("a share of correct predictions needs at least one row; got none")
    return hits(logits, labels).double().mean().item()


def hits(logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"]) -> Bool[Tensor, " b"]:
    """Which rows predict their label."""
    return (logits.argmax(dim=1) == labels) & ~logits.isnan().any(dim=1)
