"""Images that resemble a target by copies of its pixels, and what they do to the model."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.poisons._collision import features_of
from fedsim.types import Network


def nearest_bases(
    network: Network, own: Tensor, targets: Tensor, poisons: int
) -> tuple[Int[Tensor, " p"], Float[Tensor, "p c h w"]]:
    """The bases in the order of their distance to the target they are for, and these targets."""
    apart = torch.cdist(features_of(network, own), features_of(network, targets))
    order = apart.argsort(dim=0, stable=True)
    wanted = min(poisons, len(own))
    turn = torch.arange(wanted, device=own.device) % len(targets)
    rank = torch.arange(wanted, device=own.device) // len(targets)
    return order[rank, turn], targets[turn]


def copy_pixels(
    network: Network, bases: Tensor, targets: Tensor, similarity: float, copied: float, steps: int
) -> tuple[Float[Tensor, "p c h w"], Bool[Tensor, " p"]]:
    """The bases with the fewest pixels of the targets that make them similar, and which are."""
    goals = features_of(network, targets)
    enough = similarity * (features_of(network, bases) - goals).norm(dim=1)
    differ = (targets - bases).abs().sum(1).flatten(1)
    rank = differ.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    rank = rank.view(len(bases), 1, *bases.shape[2:])
    pixels, made = differ.shape[1], bases
    near = torch.zeros(len(bases), dtype=torch.bool, device=bases.device)
    for step in range(1, steps + 1):
        most = int(copied * pixels * step / steps + 1e-9)
        tried = torch.where(rank < most, targets, bases)
        made = torch.where(near[:, None, None, None], made, tried)
        near = near | ((features_of(network, made) - goals).norm(dim=1) <= enough)
    return made, near


def harm_of(
    network: Network, poison: Tensor, base: int, judged: tuple[Tensor, Tensor], lr: float
) -> float:
    """How much accuracy on `judged` falls by one step on the poison."""
    images, labels = judged
    params = network.params.detach().clone().requires_grad_()
    label = labels.new_full((1,), base)
    with torch.enable_grad():
        loss = cross_entropy(network.predict(params, poison[None]), label)
        (slope,) = torch.autograd.grad(loss, params)
    with torch.no_grad():
        right = [
            (network.predict(point, images).argmax(1) == labels).float().mean()
            for point in (network.params, network.params - lr * slope)
        ]
    return float(right[0] - right[1])
