"""Tree detector: what random cuts set apart soon is not let through."""

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.filters import filters
from fedsim.filters._calibration import Rate, fit_and_held_out, limit, pixels
from fedsim.strict import Positive
from fedsim.suspects import Filter, Filtered, Suspect


@filters.declare(data=True)
def tree_detector(
    suspect: Suspect, *, num_trees: Positive = 100, false_positive_rate: Rate = 0.05
) -> Filter:
    """The images, those rejected that an isolation forest of clean pixels calls foreign.

    s(x) = 2^(−E h(x) / c), h the cuts until x is alone in a tree, c those of an average image;
    rejected where it is over that of a share 1 − `false_positive_rate` of clean images held out.

    Paper: Liu Y., Xie, Srivastava, "Neural Trojans", ICCD 2017, arXiv:1710.00942.
    Differs: an isolation forest (Liu F. T., Ting, Zhou, ICDM 2008) for the paper's decision tree,
    which needs examples of what to reject; the paper's triggers are whole pictures from elsewhere,
    not stamps on clean ones; the threshold is calibrated.

    Args:
        num_trees: trees in the forest, each of at most 256 images.
        false_positive_rate: share of the held-out clean images that may be rejected.

    Raises:
        ValueError: there are fewer than 8 clean images.
    """
    from sklearn.ensemble import IsolationForest

    fitted, held_out = fit_and_held_out("tree_detector", suspect)
    seed = int(torch.randint(2**31, (1,), generator=suspect.generator))
    forest = IsolationForest(n_estimators=num_trees, random_state=seed).fit(pixels(fitted))

    def foreign(images: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
        return -torch.from_numpy(forest.score_samples(pixels(images)))

    largest = limit(foreign(held_out), false_positive_rate)

    def screen(images: Float[Tensor, "b c h w"]) -> Filtered:
        return Filtered(images, (foreign(images) > largest).to(images.device))

    return screen
