"""Sparse perturbations of images: (1 − m) x + m p, many problems solved at once."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedsim.inspections._queries import answers, uniform
from fedsim.inspections._sparsity import adapt, bounded, unbounded
from fedsim.suspects import Suspect

_COST, _MULTIPLIER, _PATIENCE = 1e-3, 2.0, 5  # of the weight of a mask's size


class Problems(NamedTuple):
    """Rows of images, each under the perturbation of its problem, and what is asked of each row.

    Problems 0 … k − 1 are the universal ones of each class; every row after theirs is its own.
    `wanted` rows are to be predicted as their label, the others as anything else. `others` says
    which rows of the universal problems hold an image of another class than the problem's.
    """

    images: Float[Tensor, "r c h w"]
    labels: Int[Tensor, " r"]
    wanted: Bool[Tensor, " r"]
    problem: Int[Tensor, " r"]
    others: Bool[Tensor, " u"]

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, num_classes: int) -> "Problems":
        """All images under each class's universal problem, and each towards each other class."""
        n, device = len(labels), labels.device
        targets = torch.arange(num_classes, device=device).repeat_interleave(n)
        rows = torch.arange(n, device=device).repeat(num_classes)
        others = labels[rows] != targets
        single = torch.arange(num_classes, num_classes + int(others.sum()), device=device)
        return cls(
            images[torch.cat([rows, rows[others]])],
            torch.cat([labels[rows], targets[others]]),
            torch.cat([~others, torch.ones_like(single, dtype=torch.bool)]),
            torch.cat([targets, single]),
            others,
        )

    @property
    def number(self) -> int:
        """How many problems there are."""
        return int(self.problem[-1]) + 1

    def mean(self, values: Float[Tensor, " r"]) -> Float[Tensor, " p"]:
        """The mean of each problem's rows."""
        sums = values.new_zeros(2, self.number)
        both = torch.stack([values, torch.ones_like(values)])
        total, rows = sums.index_add(1, self.problem, both).unbind()
        return total / rows


def perturb(problems: Problems, masks: Tensor, patterns: Tensor) -> Float[Tensor, "r c h w"]:
    """The rows, each under its problem's mask and pattern."""
    chosen = masks[problems.problem]
    return (1 - chosen) * problems.images + chosen * patterns[problems.problem]


def margins(logits: Float[Tensor, "r k"], labels: Int[Tensor, " r"]) -> Float[Tensor, " r"]:
    """The logit of the label less the largest other one.

    >>> margins(Tensor([[1, 4, 2], [1, 4, 2]]), torch.tensor([1, 2]))
    tensor([ 2., -2.])
    """
    own = logits.gather(1, labels[:, None])
    return own[:, 0] - logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)


def solve(
    name: str,
    suspect: Suspect,
    problems: Problems,
    steps: int,
    lr: float,
    success: float,
    confidence: float,
) -> tuple[Float[Tensor, "p 1 h w"], Float[Tensor, "p c h w"], Bool[Tensor, " p"]]:
    """The smallest masks found that content a share `success` of their rows, and their patterns.

    The weight of ‖m‖₁ follows each problem's success. What was never solved, which the third
    answer says, stays an image of nothing under a full mask.
    """
    (c, h, w), p = suspect.shape, problems.number
    raw = [unbounded(uniform(suspect, p, channels, h, w)) for channels in (1, c)]
    best = [torch.ones_like(raw[0]), torch.zeros_like(raw[1])]
    smallest = best[0].new_full((p,), h * w)
    weights, streaks = torch.zeros_like(smallest), torch.zeros_like(smallest)
    optimizer = torch.optim.Adam(raw, lr=lr, betas=(0.5, 0.9))
    for _ in range(steps):
        found, content, slopes = _try(name, suspect, problems, raw, weights, confidence)
        raw[0].grad, raw[1].grad = slopes
        optimizer.step()
        reached, norms = content >= success, found[0].sum(dim=(1, 2, 3))
        take = reached & (norms < smallest)
        smallest = norms.where(take, smallest)
        rows = take[:, None, None, None]
        best = [new.where(rows, old) for new, old in zip(found, best, strict=True)]
        weights, streaks = adapt(weights, streaks, reached, _COST, _MULTIPLIER, _PATIENCE)
    return best[0].detach(), best[1].detach(), smallest < h * w


@torch.enable_grad()
def _try(
    name: str,
    suspect: Suspect,
    problems: Problems,
    raw: list[Tensor],
    weights: Float[Tensor, " p"],
    confidence: float,
) -> tuple[list[Tensor], Float[Tensor, " p"], tuple[Tensor, ...]]:
    """Masks and patterns, the share of each problem's rows that is content, and the slopes."""
    found = [bounded(tensor) for tensor in raw]
    logits = answers(name, suspect, perturb(problems, *found))
    margin = margins(logits, problems.labels)
    content = margin.where(problems.wanted, -margin)
    losses = problems.mean((-content).clamp(min=-confidence)) + weights * found[0].sum((1, 2, 3))
    slopes = torch.autograd.grad(losses.sum(), raw)
    shares = problems.mean((content > 0).to(content))
    return [tensor.detach() for tensor in found], shares, slopes
