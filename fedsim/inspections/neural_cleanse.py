"""Neural Cleanse: the class to which a far smaller trigger leads than to the others."""

from typing import Annotated, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from fedsim.inspections import inspections
from fedsim.inspections._anomaly import among, below_median, check_classes
from fedsim.inspections._queries import answers, batches, clean_images, uniform
from fedsim.inspections._sparsity import adapt, bounded, unbounded
from fedsim.strict import Positive, Share
from fedsim.suspects import Recovered, Suspect, Verdict

Above = Annotated[float, Field(gt=0)]
_NAME = "neural_cleanse"


@inspections.declare(data=True)
def neural_cleanse(  # noqa: PLR0913 (an optimisation and its schedule)
    suspect: Suspect,
    *,
    steps: Positive = 500,
    batch_size: Positive = 128,
    lr: Above = 0.1,
    success: Share = 0.99,
    cost: Above = 1e-3,
    multiplier: Annotated[float, Field(gt=1)] = 2.0,
    patience: Positive = 5,
    threshold: Above = 2.0,
) -> Verdict:
    """The verdict on the smallest mask m that sends clean images to one class t.

    min over m, p of mean_x CE(f((1 − m) x + m p), t) + λ ‖m‖₁ for every t; the smallest ‖m‖₁ counts
    at which a share `success` of the images goes to t. The score is the largest anomaly index
    (median − ‖m_t‖₁) / (1.4826 · MAD); large masks are not suspicious.

    λ is 0 until `patience` steps in a row succeed, then `cost`; it grows by `multiplier` after as
    many successes in a row, and falls by `multiplier`^1.5 after as many failures.

    Paper: Wang et al., "Neural Cleanse", IEEE S&P 2019.
    Differs: a step is one batch, and the paper's an epoch; 500 steps without an early stop; all
    classes at once. As in the released code the images are all those there are, of class t too; no
    class needs images of its own. Classes that were never reached are left out (their norm is told
    as h · w, their index as 0). A MAD of 0 gives way to 1.2533 times the mean absolute deviation.

    Args:
        success: share of a batch that must go to t, in [0, 1].
        cost: first λ, per pixel of the mask.
        threshold: in robust standard deviations; 2 is the paper's.

    Raises:
        ValueError: fewer than 3 classes, or fewer that can be reached, no clean images, logits that
            are not finite.
    """
    check_classes(_NAME, suspect.num_classes)
    images = clean_images(_NAME, suspect)
    k, (c, h, w) = suspect.num_classes, suspect.shape
    raw = [unbounded(uniform(suspect, k, channels, h, w)) for channels in (1, c)]
    optimizer = torch.optim.Adam(raw, lr=lr, betas=(0.5, 0.9))
    best = _Found(raw[0].new_full((k,), h * w), torch.ones_like(raw[0]), torch.zeros_like(raw[1]))
    weights, streaks = torch.zeros_like(best.norms), torch.zeros_like(best.norms)
    for batch in batches(images, steps, batch_size, suspect.generator):
        found, losses, reached = _try(suspect, batch, raw, success)
        for tensor, slope in zip(raw, _slopes(losses, weights, found.norms, raw), strict=True):
            tensor.grad = slope
        optimizer.step()
        best = _smaller(best, found, reached)
        weights, streaks = adapt(weights, streaks, reached, cost, multiplier, patience)
    index = among(_NAME, best.norms < h * w, below_median, best.norms)
    score, target = float(index.max()), int(index.argmax())
    details = {"norms": best.norms, "anomalies": index}
    if score <= threshold:
        return Verdict(score, threshold, details=details)
    trigger = Recovered(best.masks[target], best.patterns[target])
    return Verdict(score, threshold, target, trigger, details)


class _Found(NamedTuple):
    """A trigger for each class, and the L1 norm of its mask."""

    norms: Float[Tensor, " k"]
    masks: Float[Tensor, "k 1 h w"]
    patterns: Float[Tensor, "k c h w"]


@torch.enable_grad()
def _try(
    suspect: Suspect, images: Tensor, raw: list[Tensor], success: float
) -> tuple[_Found, Float[Tensor, " k"], Bool[Tensor, " k"]]:
    """The triggers, their mean losses on `images`, and which of them reach their class."""
    masks, patterns = (bounded(tensor) for tensor in raw)
    stamped = (1 - masks[:, None]) * images + (masks * patterns)[:, None]
    logits = answers(_NAME, suspect, stamped.flatten(0, 1))
    targets = torch.arange(len(masks), device=logits.device).repeat_interleave(len(images))
    losses = cross_entropy(logits, targets, reduction="none").view(len(masks), -1).mean(dim=1)
    hits = (logits.argmax(dim=1) == targets).float().view(len(masks), -1).mean(dim=1)
    return _Found(masks.sum(dim=(1, 2, 3)), masks, patterns), losses, hits >= success


@torch.enable_grad()
def _slopes(
    losses: Tensor, weights: Tensor, norms: Tensor, raw: list[Tensor]
) -> tuple[Tensor, ...]:
    return torch.autograd.grad((losses + weights * norms).sum(), raw)


def _smaller(best: _Found, found: _Found, reached: Bool[Tensor, " k"]) -> _Found:
    take = reached & (found.norms < best.norms)
    pairs = zip(found, best, strict=True)
    rows = [take.view(-1, *[1] * (new.ndim - 1)) for new in found]
    return _Found(
        *(new.detach().where(row, old) for (new, old), row in zip(pairs, rows, strict=True))
    )
