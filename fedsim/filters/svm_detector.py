"""SVM detector: what lies outside the region of the clean images is not let through."""

from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from fedsim.filters import filters
from fedsim.filters._calibration import Rate, fit_and_held_out, limit, pixels
from fedsim.suspects import Filter, Filtered, Suspect


@filters.declare(data=True)
def svm_detector(
    suspect: Suspect,
    *,
    nu: Annotated[float, Field(gt=0, le=1)] = 0.05,
    false_positive_rate: Rate = 0.05,
) -> Filter:
    """The images, those rejected that a support vector machine of clean pixels calls foreign.

    s(x) = ρ − Σ_i α_i exp(−γ ‖x_i − x‖²), γ = 1 / (d · variance of the pixels); rejected where it
    is over that of a share 1 − `false_positive_rate` of clean images held out from the fit.

    Paper: Liu Y., Xie, Srivastava, "Neural Trojans", ICCD 2017, arXiv:1710.00942.
    Differs: a machine of one class (Schölkopf et al., Neural Computation 2001), since a server has
    no images with triggers to learn from; the paper's triggers are whole pictures from elsewhere,
    not stamps on clean ones; the threshold, of which the paper says nothing, is calibrated.

    Args:
        nu: at most this share of the images in the fit lie outside.
        false_positive_rate: share of the held-out clean images that may be rejected.

    Raises:
        ValueError: there are fewer than 8 clean images.
    """
    from sklearn.svm import OneClassSVM

    fitted, held_out = fit_and_held_out("svm_detector", suspect)
    machine = OneClassSVM(nu=nu, gamma="scale").fit(pixels(fitted))

    def foreign(images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return -torch.from_numpy(machine.decision_function(pixels(images)))

    largest = limit(foreign(held_out), false_positive_rate)

    def screen(images: Float[Tensor, "b c h w"]) -> Filtered:
        return Filtered(images, (foreign(images) > largest).to(images.device))

    return screen
