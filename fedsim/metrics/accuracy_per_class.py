"""Accuracy for each class on its own."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsim.metrics import metrics
from fedsim.metrics.accuracy import hits
from fedsim.strict import Positive


@metrics.declare(higher_is_better=True, bounds=(0.0, 1.0))
def accuracy_per_class(
    logits: Float[Tensor, "b k"], labels: Int[Tensor, " b"], *, num_classes: Positive | None = None
) -> Float[Tensor, " classes"]:
    """The share of right predictions among the rows of each class; NaN for a class without rows.

    `num_classes=None` takes as many classes as there are logits.

    Paper: Folklore.

    >>> accuracy_per_class(torch.eye(3)[[0, 0, 1]], torch.tensor([0, 0, 0]))
    tensor([0.6667,    nan,    nan], dtype=torch.float64)
    """
    classes = num_classes or logits.shape[1]
    right = torch.bincount(labels[hits(logits, labels)], minlength=classes)
    return right.double() / torch.bincount(labels, minlength=classes)
