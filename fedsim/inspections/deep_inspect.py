"""DeepInspect: triggers of a conditional generator, trained on images made from the model alone."""

from typing import Annotated

from pydantic import Field

from fedsim.inspections import inspections
from fedsim.inspections._anomaly import among, check_classes, double_below_median
from fedsim.inspections._generator import Plan, sizes, smallest_triggers
from fedsim.inspections._inversion import invert
from fedsim.strict import Positive, Share
from fedsim.suspects import Recovered, Suspect, Verdict

Above = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
_NAME = "deep_inspect"


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
    and x + Δ x elsewhere: min CE(f(x ⊕ Δ), t) + gan (D(x ⊕ Δ) − 1)² + λ_t max(0, ‖Δ‖₁ − bound),
    against a D that learns to tell x from x ⊕ Δ.
    3. The score is the largest (median − s_t) / (1.4826 · MAD) of the sizes s_t of the smallest Δ
    that reached t, MAD that of the sizes below the median; large triggers are not suspicious.

    Paper: Chen et al., "DeepInspect", IJCAI 2019.
    Differs: G and D have one hidden layer; Δ is scaled by the room a pixel has left, where x + Δ
    would leave [0, 1]; the inversion prefers smooth images; λ_t begins at `size` and follows the
    success of t as in Neural Cleanse (by 1.5 after five steps), where the paper has one weight.
    Classes that were never reached are left out (their size is told as c · h · w, their index as
    0). A MAD of 0 gives way to 1.2533 times the mean absolute deviation. Fewer than 5 reached
    classes leave the smaller half too few to accuse one at 2. Of several channels the mask is the
    strongest one's.

    Args:
        gan: weight of the discriminator's say, γ₁.
        size: first weight of the trigger's size, per pixel: γ₂.
        bound: size in pixels up to which a trigger costs nothing.
        success: share of a batch of made images that a trigger must send to its class.
        threshold: in robust standard deviations; 2 is the paper's.

    Raises:
        ValueError: fewer than 3 classes, or fewer that can be reached, logits that are not finite.
    """
    check_classes(_NAME, suspect.num_classes)
    images = invert(_NAME, suspect, images_per_class, inversion_steps)
    plan = Plan(steps, batch_size, lr, gan, size, bound, success)
    triggers, reached = smallest_triggers(_NAME, suspect, images, plan)
    index = among(_NAME, reached, double_below_median, sizes(triggers))
    score, target = float(index.max()), int(index.argmax())
    details = {"sizes": sizes(triggers), "anomalies": index}
    if score <= threshold:
        return Verdict(score, threshold, details=details)
    trigger = triggers[target]
    recovered = Recovered(trigger.abs().amax(dim=0, keepdim=True), (trigger > 0).to(trigger))
    return Verdict(score, threshold, target, recovered, details)
