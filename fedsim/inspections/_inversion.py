"""Images of every class made from a model alone."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.inspections._queries import answers, uniform
from fedsim.inspections._sparsity import bounded, unbounded
from fedsim.suspects import Suspect

_LR = 0.1
_SMOOTH = 1.0


@torch.enable_grad()
def invert(name: str, suspect: Suspect, per_class: int, steps: int) -> Float[Tensor, "b c h w"]:
    """`per_class` images in [0, 1] of each class: what the model is led to by its own gradient.

    Each begins as noise of a brightness of its own, for some models answer every grey image alike
    and have no gradient there. It goes down CE(f(x), t) plus its mean absolute difference between
    neighbouring pixels. Fredrikson et al., CCS 2015.
    """
    k = suspect.num_classes
    noise = uniform(suspect, k * per_class, *suspect.shape)
    raw = unbounded(noise * uniform(suspect, len(noise), 1, 1, 1))
    targets = torch.arange(k, device=raw.device).repeat_interleave(per_class)
    optimizer = torch.optim.Adam([raw], lr=_LR)
    for _ in range(steps):
        images = bounded(raw)
        losses = cross_entropy(answers(name, suspect, images), targets, reduction="sum")
        (raw.grad,) = torch.autograd.grad(losses + _SMOOTH * len(raw) * _roughness(images), raw)
        optimizer.step()
    return bounded(raw.detach())


def _roughness(images: Tensor) -> Tensor:
    across = (images[..., 1:] - images[..., :-1]).abs()
    down = (images[..., 1:, :] - images[..., :-1, :]).abs()
    return (across.sum() + down.sum()) / images.numel()
