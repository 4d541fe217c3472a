"""DeepInspect: triggers of a conditional generator, trained on images made from the model alone."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.inspections import inspections
from fedsim.inspections._anomaly import check_classes, double_below_median
from fedsim.inspections._generator import generate, stamp, trained_generator
from fedsim.inspections._inversion import invert
from fedsim.inspections._queries import answers
from fedsim.strict import Positive, Share
from fedsim.suspects import Recovered, Suspect, Verdict

Above = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
_NAME = "deep_inspect"
_DRAWS = 16  # triggers of each class whose sizes are averaged


@inspections.declare(data=False)
def deep_inspect(  # noqa: PLR0913 (an inversion, a generator and a test)
    suspect: Suspect,
    *,
    images_per_class: Positive = 10,
    inversion_steps: Positive = 100,
    steps: Positive = 500,
    batch_size: Positive = 64,
    lr: Above = 0.01,
    gan: Weight = 0.1,
    size: Weight = 0.02,
    bound: Weight = 0.0,
    success: Share = 0.9,
    threshold: Above = 2.0,
) -> Verdict:
    """The verdict on the smallest trigger that a generator G(z, t) makes for a class t.

    1. Images of every class by inversion of the model; clean data are not looked at.
    2. G learns Δ = G(z, t) ∈ [−1, 1], added to them as x ⊕ Δ, which is x + Δ (1 − x) where Δ > 0
    and x + Δ x elsewhere: min CE(f(x ⊕ Δ), t) + gan (D(x ⊕ Δ) − 1)² + size max(0, ‖Δ‖₁ − bound),
    against a D that learns to tell x from x ⊕ Δ.
    3. The score is the largest (median − s_t) / (1.4826 · MAD) of the mean sizes s_t = ‖Δ‖₁, MAD
    that of the sizes below the median; large triggers are not suspicious.

    Paper: Chen et al., "DeepInspect", IJCAI 2019.
    Differs: G and D have one hidden layer; Δ is scaled by the room a pixel has left, where x + Δ
    would leave [0, 1]; the inversion prefers smooth images; the weights of the losses are this
    implementation's. A trigger that fails has the largest size, c · h · w. A MAD of 0 gives way to
    1.2533 times the mean absolute deviation. Fewer than 5 classes leave the smaller half too few
    to accuse one at 2. Of several channels the mask is the strongest one's.

    Args:
        gan: weight of the discriminator's say, γ₁.
        size: weight of the trigger's size, per pixel: γ₂.
        bound: size in pixels up to which a trigger costs nothing.
        success: share of the made images that a trigger must send to its class.
        threshold: in robust standard deviations; 2 is the paper's.

    Raises:
        ValueError: fewer than 3 classes, logits that are not finite.
    """
    check_classes(_NAME, suspect.num_classes)
    images = invert(_NAME, suspect, images_per_class, inversion_steps)
    generator = trained_generator(_NAME, suspect, images, steps, batch_size, lr, (gan, size, bound))
    with torch.no_grad():
        triggers = torch.stack([generate(generator, suspect) for _ in range(_DRAWS)])
        sizes = triggers.abs().sum(dim=(2, 3, 4)).mean(dim=0)
        rates = _rates(suspect, images, triggers[0])
    sizes = sizes.where(rates >= success, float(images[0].numel()))
    index = double_below_median(sizes)
    score, target = float(index.max()), int(index.argmax())
    details = {"sizes": sizes, "anomalies": index, "rates": rates}
    if score <= threshold:
        return Verdict(score, threshold, details=details)
    trigger = triggers[0, target]
    recovered = Recovered(trigger.abs().amax(dim=0, keepdim=True), (trigger > 0).to(trigger))
    return Verdict(score, threshold, target, recovered, details)


def _rates(suspect: Suspect, images: Tensor, triggers: Float[Tensor, "k c h w"]) -> Tensor:
    """The share (k,) of the images that the trigger of each class sends to it."""
    logits = answers(_NAME, suspect, stamp(triggers, images).flatten(0, 1))
    predicted = logits.argmax(dim=1).view(len(triggers), -1)
    return (predicted == torch.arange(len(triggers), device=logits.device)[:, None]).float().mean(1)
