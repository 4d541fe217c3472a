"""Meta neural Trojan detection: a classifier that has seen many backdoored networks."""

import hashlib
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fedsim.inspections import inspections
from fedsim.inspections._kept import read, write
from fedsim.inspections._meta_classifier import Plan, as_images, score, shapes, train
from fedsim.inspections._shadows import Lessons, Shadows, cast_shadows, jumbo
from fedsim.seeding import generator, seeded
from fedsim.strict import Positive
from fedsim.suspects import Suspect, Verdict

Rate = Annotated[float, Field(gt=0, lt=1)]
FORMAT = 1


@inspections.declare(data=True)
def mntd(
    suspect: Suspect,
    *,
    num_shadows: Annotated[int, Field(ge=4)] = 256,
    epochs: Positive = 20,
    num_queries: Positive = 10,
    num_classifiers: Positive = 4,
    steps: Positive = 200,
    false_positive_rate: Rate = 0.05,
    threshold: float | None = None,
) -> Verdict:
    """The logit that the model is backdoored, by a classifier trained on shadow models.

    Of `num_shadows` benign and as many backdoored networks f_i (random trigger, opacity, target,
    share), b_i = 0 or 1, learned are k queries x_j and a classifier g of two layers:
    min over x, g of Σ_i BCE(g(f_i(x_1), …, f_i(x_k)), b_i); the score is g(f(x_1), …, f(x_k)).

    Paper: Xu et al., "Detecting AI Trojans Using Meta Neural Analysis", IEEE S&P 2021,
    arXiv:1910.03137 (jumbo learning, query tuning).
    Differs: 256 shadow models of each sort for the paper's 2048, each trained at a learning rate
    of its own between 0.02 and 0.2; g sees log-probabilities for logits; queries stay images in
    [0, 1]; the mean of `num_classifiers` such g, which the paper trains and measures one by one;
    the paper reports the AUC and needs no threshold: one that fits shadow models may be too low
    for a model trained on much more data than they. The target class stays unknown.

    Args:
        num_shadows: benign shadow models, and as many backdoored ones; a quarter is held out.
        epochs: of a shadow model over the clean images.
        steps: of the classifiers and queries, of 32 shadow models each.
        false_positive_rate: share of the held-out benign shadow models over the threshold.
        threshold: a logit; None: what `false_positive_rate` says, but never below 0.

    Raises:
        ValueError: there are no clean images, or nearly all shadow models diverge.
    """
    if suspect.images is None or suspect.labels is None:
        raise ValueError("mntd needs clean images of the server's. Set server.root_data.")
    plan = Plan(num_classifiers, num_queries, steps)
    lessons = Lessons(suspect.images, suspect.labels, epochs)
    found = _learned(suspect, lessons, plan, num_shadows)
    if threshold is None:
        limit = found["benign"].double().quantile(1 - false_positive_rate).item()
        threshold = max(0.0, limit)
    with torch.no_grad():
        own = score(found, suspect.model(as_images(found))[None]).item()
    higher = found["backdoored"][:, None] > found["benign"]
    return Verdict(own, threshold, details={"auc of held-out shadows": higher.float().mean()})


def _learned(suspect: Suspect, lessons: Lessons, plan: Plan, num_shadows: int) -> dict[str, Tensor]:
    """The classifiers, from the cache if they are there, and their scores of held-out shadows.

    They depend on the data, the architecture and the parameters alone, as does their file's name.
    """
    sizes = shapes(plan, suspect.shape, suspect.num_classes)
    key = _key(suspect, lessons, (FORMAT, num_shadows, plan, lessons[2:]))
    path = suspect.cache / f"mntd-{key[:16]}.safetensors" if suspect.cache else None
    known = read(path, {**sizes, "benign": None, "backdoored": None}) if path else None
    if known is not None:
        return {name: value.to(lessons.images) for name, value in known.items()}
    draw = generator(int(key[:15], 16), "mntd")
    with seeded(int(key[:15], 16), "mntd"):
        trojans = jumbo(num_shadows, suspect.shape, suspect.num_classes, draw)
        seen, unseen = _divided(cast_shadows(suspect.fresh, trojans, lessons, draw), num_shadows)
        found = train(seen, plan, sizes, draw)
    with torch.no_grad():
        scores = score(found, unseen.answers(as_images(found)))
    trojaned = unseen.trojaned > 0
    found = {**found, "benign": scores[~trojaned], "backdoored": scores[trojaned]}
    if path:
        write(path, found)
    return found


def _divided(shadows: Shadows, num_shadows: int) -> tuple[Shadows, Shadows]:
    """Three quarters to learn from and one held out, without those whose training diverged."""
    cut = 2 * (3 * num_shadows // 4)
    parts = [shadows.take(rows).finite() for rows in (slice(cut), slice(cut, None))]
    if any(len(part.trojaned.unique()) < 2 for part in parts):
        left = sum(len(part) for part in parts)
        raise ValueError(f"mntd: of {2 * num_shadows} shadow models only {left} did not diverge")
    return parts[0], parts[1]


def _key(suspect: Suspect, lessons: Lessons, settings: object) -> str:
    """A hash of the data, the settings, and the network as one fixed seed makes it."""
    born = suspect.fresh(generator(0, "mntd"))
    tensors = {**born.state_dict(), **dict(born.named_buffers())}
    digest = hashlib.sha256(f"{settings} {suspect.num_classes} {born}".encode())
    for tensor in (lessons.images, lessons.labels, *tensors.values()):
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
