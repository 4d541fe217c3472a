"""Robust accuracy: how often the model is right although the trigger is there."""

from jaxtyping import Float, Int
from torch import Tensor

from fedsim.metrics import metrics
from fedsim.metrics.accuracy import accuracy


@metrics.declare(higher_is_better=True, bounds=(0.0, 1.0))
def robust_accuracy(logits: Float[Tensor, "b k"], truth: Int[Tensor, " b"]) -> float:
    """The share of stamped images that are still classified as what they truly show.

    Paper: Wu et al., NeurIPS 2022 Datasets and Benchmarks, arXiv:2206.12654 (BackdoorBench).
    Raises: ValueError if there are no rows.

    >>> import torch
    >>> robust_accuracy(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    return accuracy(logits, truth)
