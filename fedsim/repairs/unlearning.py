"""Unlearning: teach the model the true labels of images that carry the trigger found in it."""

import math
from collections.abc import Callable
from typing import Annotated

import torch
from torch import nn

from fedsim.registry import OneOf, registry
from fedsim.repairs import repairs
from fedsim.repairs._clean import clean_data, copy_of, tune
from fedsim.repairs.fine_tuning import Momentum, Rate
from fedsim.strict import Positive, Share
from fedsim.suspects import Recovered, Suspect, Verdict

Inspection = Callable[[Suspect], Verdict]


@repairs.register
def unlearning(
    suspect: Suspect,
    *,
    inspection: Annotated[Inspection, OneOf("inspections")] | None = None,
    fraction: Share = 0.2,
    epochs: Positive = 20,
    lr: Rate = 0.01,
    momentum: Momentum = 0.9,
    batch_size: Positive = 32,
) -> nn.Module:
    """The model after SGD on clean data of which a `fraction` carries the trigger.

    x ← (1 − m) x + m p with its true label, m and p the mask and pattern that an inspection
    recovered: the last one's, or where it recovered none those of `inspection`.

    Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019, section VI.
    Differs: 20 epochs where the paper takes one of 10 % of the training set, as the server's data
    are few; the stamped images are drawn once; evaluation mode, as in `fine_tuning`.

    Args:
        inspection: what looks for a trigger if the last inspection recovered none. Absent, nothing
            does; before any inspection `neural_cleanse` does, with its defaults.
        fraction: share of the clean images that is stamped.

    Raises:
        ValueError: fewer than 2 clean images, or the inspection recovers no trigger.
    """
    images, labels = clean_data("unlearning", suspect)
    trigger = _trigger(suspect, inspection)
    order = torch.randperm(len(labels), generator=suspect.generator).to(labels.device)
    rows = order[: math.floor(fraction * len(labels) + 1e-9)]
    stamped = images.index_copy(0, rows, trigger.stamp(images[rows]).to(images))
    model = copy_of(suspect.model)
    tune(
        model,
        (stamped, labels),
        suspect.generator,
        epochs=epochs,
        lr=lr,
        momentum=momentum,
        batch_size=batch_size,
    )
    return model


def _trigger(suspect: Suspect, inspection: Inspection | None) -> Recovered:
    verdict = suspect.verdict
    if verdict is None or (verdict.trigger is None and inspection is not None):
        verdict = (inspection or registry("inspections").build("neural_cleanse"))(suspect)
    if verdict.trigger is None:
        raise ValueError(
            "unlearning: the inspection recovered no trigger. "
            "Take one that does (neural_cleanse, deep_inspect)"
        )
    return verdict.trigger
