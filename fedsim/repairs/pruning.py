"""Pruning: remove the units that clean images leave dormant, and a backdoor with them."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from fedsim.channels import Site, last_units, mean_activation, spare_units, switch_off
from fedsim.repairs import repairs
from fedsim.repairs._clean import clean_data, copy_of, halves
from fedsim.strict import Share
from fedsim.suspects import Suspect

Part = Annotated[float, Field(gt=0, lt=1)]
"""A share in (0, 1)."""


@repairs.register
def pruning(suspect: Suspect, *, fall: Share = 0.1, held_out: Part = 0.5) -> nn.Module:
    """The model without the channels of its last convolution that clean images use least.

    a_j = mean |activation of channel j| over clean images; channels are switched off in the order
    of rising a_j as long as accuracy on clean images held out is at least (1 − fall) of what it
    was. A network without convolutions loses units of its last hidden linear layer instead.

    Paper: Liu, Dolan-Gavitt and Garg, "Fine-Pruning", RAID 2018, arXiv:1805.12185.
    Differs: 1 % of the channels at a time, at least one; a channel is not cut out, but its
    weights and bias (those of the normalisation that follows, if any) are set to 0, so that the
    architecture stays; the paper stops at a fall of 4 points.

    Args:
        fall: how much of the accuracy may be lost, a share of it (BackdoorBench: 0.1).
        held_out: share of the clean images that accuracy is measured on; the others measure a_j.

    Raises:
        ValueError: fewer than 2 clean images, or a network without a hidden layer.
    """
    model, _, _ = pruned("pruning", suspect, fall, held_out)
    return model


def pruned(
    name: str, suspect: Suspect, fall: float, held_out: float
) -> tuple[nn.Module, Site, Tensor]:
    """The pruned copy, the layer it was pruned in, and which of its units are off (k,)."""
    data = clean_data(name, suspect)
    seen, held = halves(data, held_out, suspect.generator)
    model = copy_of(suspect.model)
    try:
        site = last_units(model)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    order = mean_activation(model, site, seen[0]).argsort(stable=True)
    units = spare_units(model, site, order, held, fall)
    switch_off(model, site, units)
    return model, site, units
