"""Fine-tuning: train on for a while on clean data alone."""

from typing import Annotated

from pydantic import Field
from torch import nn

from fedsim.repairs import repairs
from fedsim.repairs._clean import clean_data, copy_of, tune
from fedsim.strict import Positive
from fedsim.suspects import Suspect

Rate = Annotated[float, Field(gt=0)]
"""A learning rate > 0."""

Momentum = Annotated[float, Field(ge=0, lt=1)]
"""A share in [0, 1)."""


@repairs.register
def fine_tuning(
    suspect: Suspect,
    *,
    epochs: Positive = 100,
    lr: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch_size: Positive = 32,
) -> nn.Module:
    """The model after more SGD on the server's clean data.

    w ← w − lr · v, v ← momentum · v + ∇ mean cross-entropy of a batch. Units that no clean image
    wakes have no gradient: what a backdoor needs of them stays.

    Paper: Liu, Xie and Srivastava, "Neural Trojans", ICCD 2017, arXiv:1710.00942 (retraining);
    rate and epochs are those of BackdoorBench.
    Differs: the network stays in evaluation mode, so BatchNorm keeps the federation's statistics.

    Raises:
        ValueError: fewer than 2 clean images.
    """
    data, model = clean_data("fine_tuning", suspect), copy_of(suspect.model)
    tune(
        model,
        data,
        suspect.generator,
        epochs=epochs,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
    )
    return model
