"""StingRay: correctly labelled images that take over a target's pixels until they look like it."""

from functools import partial
from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from fedsim.poisons import poisons as registry
from fedsim.poisons._chosen import followed
from fedsim.poisons._collision import (
    Rate,
    global_model,
    probe_targets,
    select_targets,
    target_instances,
)
from fedsim.poisons._resemblance import copy_pixels, harm_of, nearest_bases
from fedsim.strict import Count, Positive, Share
from fedsim.types import PoisonView

NAME = "stingray"
_JUDGED = 200  # own images on which a poison's harm is looked at

Part = Annotated[float, Field(gt=0, le=1)]
"""A share in (0, 1]."""


@registry.declare(
    when="round", probe=partial(probe_targets, NAME), select=partial(select_targets, NAME)
)
def stingray(  # noqa: PLR0913 (the thresholds of the crafting)
    images: Float[Tensor, "b c h w"],
    labels: Int[Tensor, " b"],
    view: PoisonView,
    *,
    base: Count,
    source: Count,
    count: Positive = 1,
    poisons: Positive = 50,
    similarity: Part = 0.5,
    copied: Part = 0.5,
    harm: Share = 0.02,
    steps: Positive = 20,
    lr: Rate = 0.01,
) -> tuple[Float[Tensor, "n c h w"], Int[Tensor, " n"]]:
    """The client's own set, followed by images of class `base` that resemble a target instance.

    Bases are the own images b of class `base` nearest to a target instance t, ‖f(b) − f(t)‖ with f
    the features before the global model's last layer. Of t, the pixels that differ most from b's
    are copied, as few as bring ‖f(x) − f(t)‖ to `similarity` · ‖f(b) − f(t)‖, at most `copied` of
    them. A poison is kept if it gets there, and if one step on it costs the own images at most
    `harm` of their accuracy: so it hurts nothing but the target, and no test of one image by its
    effect drops it. Several are sent, so that it survives when some are drawn out.

    Paper: Suciu et al., "When Does Machine Learning FAIL?", USENIX Security 2018, arXiv:1803.06975.
    Differs: made anew in each round, as the model moves; the negative impact of a poison is that
    of one step of the global model, not of a training with it, on up to 200 own images; all that
    pass are sent, where the paper stops when its own copy of the victim reads t as `base`.

    Args:
        base: the true class of the poisons, which the target instances are to be read as.
        source: the class of the target instances.
        count: target instances, drawn once; the poisons take turns in resembling them.
        poisons: bases tried in each round, the nearest ones.
        similarity: how near to t a poison must come, as a share of its base's distance.
        copied: the largest share of the pixels that is copied.
        harm: the largest fall of the accuracy on the own images, a difference of shares.
        steps: how many numbers of copied pixels are tried, evenly spaced.
        lr: size of the step by which harm is judged: about a tenth of that of the training, as a
            poison is one image of a batch.

    Raises:
        ValueError: fewer than `count` images of `source` are held, or a class does not exist.

    >>> from fedsim.poisons._collision import one_pixel_task
    >>> x, y, view = torch.zeros(1, 1, 1, 1), torch.tensor([0]), one_pixel_task()
    >>> stingray(x, y, view, base=0, source=1, copied=1.0)[0].flatten()
    tensor([0., 1.])
    """
    targets, network = target_instances(NAME, view, base, source), global_model(NAME, view)
    own = images[labels == base]
    if len(own) == 0:
        return images, labels
    rows, partners = nearest_bases(network, own, targets.to(images), poisons)
    crafted, near = copy_pixels(network, own[rows], partners, similarity, copied, steps)
    crafted = crafted[near]
    judged = torch.randperm(len(labels), generator=view.generator)[:_JUDGED].to(labels.device)
    harmless = [
        harm_of(network, x, base, (images[judged], labels[judged]), lr) <= harm + 1e-9
        for x in crafted
    ]
    kept = torch.tensor(harmless, dtype=torch.bool, device=crafted.device)
    return followed(images, labels, crafted[kept], base)
