"""DL-TND: the class to which a perturbation of all images and one of each lead the same way."""

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cosine_similarity

from fedsim.inspections import inspections
from fedsim.inspections._anomaly import above_median, among, check_classes
from fedsim.inspections._perturbations import Problems, perturb, solve
from fedsim.inspections._queries import answers, clean_images
from fedsim.strict import Positive, Share
from fedsim.suspects import Recovered, Suspect, Verdict

Above = Annotated[float, Field(gt=0)]
_NAME = "dl_tnd"
_THRESHOLDS = {"outlier": 2.0, "fixed": 0.75}


@inspections.declare(data=True)
def dl_tnd(  # noqa: PLR0913 (two optimisations and a test)
    suspect: Suspect,
    *,
    images_per_class: Positive = 1,
    steps: Positive = 400,
    lr: Above = 0.1,
    success: Share = 0.7,
    confidence: Annotated[float, Field(ge=0)] = 15.0,
    quantile: Share = 0.25,
    rule: Literal["outlier", "fixed"] = "outlier",
    threshold: Above | None = None,
) -> Verdict:
    """The verdict on how alike the model answers a universal perturbation and one of each image.

    For a class t and the images x_i of other classes: one (m, p) under which every x_i is
    misclassified while images of t are not, and a (m_i, p_i) for each that sends it to t; masks are
    as small in L1 as a share `success` of the images allows. The similarity of t is the `quantile`
    over i of cos(f(x_i, m, p), f(x_i, m_i, p_i)), f the logits: both go through a shortcut if there
    is one. rule `fixed`: the score is the largest similarity; `outlier`: its anomaly index
    (similarity − median) / (1.4826 · MAD) among the classes.

    Paper: Wang et al., "Practical Detection of Trojan Neural Networks: Data-Limited and Data-Free
    Cases", ECCV 2020, arXiv:2007.15802.
    Differs: masks are shrunk as Neural Cleanse does it, where the released code bisects a weight
    and thresholds; its similarities of larger masks are left out; logits as there. `outlier` is the
    default: on 8 × 8 digits clean models reach similarities of 0.87 to 0.95, and 0.75, the
    released code's threshold, accuses them all. A class without clean images keeps none in place.
    Perturbations that were not found are left out, and a class where none can be compared is told
    as a similarity of −1 and an index of 0.

    Args:
        images_per_class: the first so many clean images of each class are used.
        confidence: margin between logits beyond which a perturbation is pushed no further.
        threshold: None is 2 robust standard deviations for `outlier`, a cosine of 0.75 for `fixed`.

    Raises:
        ValueError: fewer than 3 classes, or fewer to compare, clean images of fewer than 2, logits
            that are not finite.
    """
    check_classes(_NAME, suspect.num_classes)
    images, labels = _few(suspect, images_per_class)
    problems = Problems.of(images, labels, suspect.num_classes)
    masks, patterns, solved = solve(_NAME, suspect, problems, steps, lr, success, confidence)
    with torch.no_grad():
        logits = answers(_NAME, suspect, perturb(problems, masks, patterns))
    similarities = _similarities(logits, problems, solved, quantile)
    known = ~similarities.isnan()
    index = among(_NAME, known, above_median, similarities)
    similarities = similarities.nan_to_num(nan=-1.0)
    scores = index if rule == "outlier" else similarities
    score, target = float(scores.max()), int(scores.argmax())
    threshold = _THRESHOLDS[rule] if threshold is None else threshold
    norms = masks[: suspect.num_classes].sum(dim=(1, 2, 3))
    details = {"similarities": similarities, "anomalies": index, "norms": norms}
    if score <= threshold:
        return Verdict(score, threshold, details=details)
    return Verdict(score, threshold, target, Recovered(masks[target], patterns[target]), details)


def _few(suspect: Suspect, count: int) -> tuple[Tensor, Int[Tensor, " b"]]:
    """The first `count` clean images of each class."""
    images, labels = clean_images(_NAME, suspect), suspect.labels
    assert labels is not None
    rows = torch.cat([(labels == t).nonzero()[:count, 0] for t in range(suspect.num_classes)])
    if len(labels[rows].unique()) < 2:
        raise ValueError(f"{_NAME} needs clean images of at least 2 classes; got 1")
    return images[rows], labels[rows]


def _similarities(
    logits: Float[Tensor, "r k"], problems: Problems, solved: Bool[Tensor, " p"], quantile: float
) -> Float[Tensor, " k"]:
    """For each class, the quantile over images of other classes; NaN where none can be compared.

    Only perturbations that do what is asked of them are.
    """
    first = len(problems.others)
    targets, own = problems.labels[first:], problems.problem[first:]
    cosines = cosine_similarity(logits[:first][problems.others], logits[first:])
    cosines = cosines.where(solved[targets] & solved[own], torch.nan)
    classes = range(int(targets.max()) + 1)
    return torch.stack([cosines[targets == t].nanquantile(quantile) for t in classes])
