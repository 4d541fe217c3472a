"""The pruning-aware attack: a backdoor kept out of the units that a defender would prune."""

from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn

from fedsim.channels import biases, coordinates, last_units, mean_activation, spare_units
from fedsim.constraints import constraints
from fedsim.strict import Share
from fedsim.types import ConstraintView


def _study(
    model: nn.Module,
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    *,
    fall: float,
    lower: float,
) -> Float[Tensor, "2 d"]:
    """Which parameters belong to the units to be pruned, and which of them are biases: 1 or 0."""
    site = last_units(model)
    order = mean_activation(model, site, images).argsort(stable=True)
    units = spare_units(model, site, order, (images, labels), fall)
    marks = torch.stack([coordinates(model, site, units), biases(model, site, units)])
    return marks.to(images.dtype)


@constraints.update(study=_study)
def pruning_aware(
    update: Float[Tensor, " d"],
    view: ConstraintView,
    *,
    fall: Share = 0.04,
    lower: Annotated[float, Field(ge=0)] = 1.0,
) -> Float[Tensor, " d"]:
    """The update with the dormant units at 0 while training goes on, and put back at its end.

    The four steps of the paper in one visit: (1) the global model G is the clean network; (2) the
    units of its last convolution (or last hidden linear layer) that the client's own clean images
    use least are pruned, w = 0, as long as accuracy on these is at least (1 − fall) of what it was;
    (3) the pruned network learns the poisoned data, so the backdoor lives in units that clean
    images need; (4) the pruned units come back as they are in G, with biases less by `lower`, as
    decoys for a defender who prunes. It is a constraint, as it decides how a malicious client
    trains: what an attack sees are the rows after that.

    Paper: Liu, Dolan-Gavitt and Garg, "Fine-Pruning", RAID 2018, arXiv:1805.12185, section 3.2.
    Differs: done anew in each visit on the global model of the round; what the others send moves
    the decoys too, and averaging weakens all of it unless the update is boosted.

    Args:
        fall: share of the accuracy on the client's own data that the pruning may cost.
        lower: how much lower than in G the biases of the decoys are, ≥ 0, in units of parameters.

    Raises:
        ValueError: the constraint was given no study of the model, or the network has no hidden
            layer.

    >>> marks = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    >>> params, moved = torch.tensor([2.0, 3.0, 4.0]), torch.ones(3)
    >>> pruning_aware(moved, ConstraintView(moved, params, 1, False, studied=marks))
    tensor([-2., -3.,  1.])
    >>> pruning_aware(moved, ConstraintView(moved, params, 2, True, studied=marks))
    tensor([ 0., -1.,  1.])
    """
    if view.studied is None:
        raise ValueError("pruning_aware: needs a study of the global model; got none")
    pruned, bias = view.studied
    inside = torch.zeros_like(update).sub(bias, alpha=lower) if view.is_last else -view.params
    return torch.where(pruned > 0, inside, update)
