"""Accuracy per class on the server's data, each class against its own history."""

import torch
from jaxtyping import Float
from torch import Tensor

from fedsim.monitors import monitors
from fedsim.strict import Positive, Share
from fedsim.suspects import Watch
from fedsim.types import State


@monitors.register
def class_audit(
    watch: Watch, *, fall: Share = 0.3, window: Positive = 5
) -> tuple[str | None, State]:
    """An alarm when the accuracy of a class is `fall` or more below its mean of `window` rounds.

    Targeted poisoning hurts one class more than the others: a_c(t) against the mean of
    a_c(t − window) … a_c(t − 1). The class that fell most is named; judged once there are `window`
    rounds to compare with.

    Paper: Folklore.

    Args:
        fall: difference of two shares. With n images of a class, chance alone moves its accuracy
            by about 1/√n.

    >>> seen = {"history": torch.tensor([[0.9, 1.0], [0.9, 1.0]])}
    >>> watch = Watch(3, lambda images: torch.eye(2)[[0, 0]], torch.zeros(2, 1, 1, 1),
    ...     torch.tensor([0, 1]), 2, seen)
    >>> class_audit(watch, window=2)[0]
    'class 1: accuracy on root data 0.000, 1.000 on average over the 2 rounds before'
    """
    now = _per_class(watch)
    history = torch.as_tensor(watch.state.get("history", now.new_empty(0, len(now))))
    alarm = None
    if len(history) >= window:
        usual = history.mean(dim=0)
        fell = (usual - now).nan_to_num(-1)  # a class that the server has no image of
        worst = int(fell.argmax())
        if fell[worst] >= fall:
            text = f"class {worst}: accuracy on root data {float(now[worst]):.3f}, "
            alarm = f"{text}{float(usual[worst]):.3f} on average over the {window} rounds before"
    return alarm, {"history": torch.cat([history, now[None]])[-window:]}


def _per_class(watch: Watch) -> Float[Tensor, " k"]:
    """The share of each class's images that are classified right; NaN without any."""
    right = watch.labels[watch.predict(watch.images).argmax(dim=1) == watch.labels]
    hits, counts = (
        torch.bincount(labels, minlength=watch.num_classes) for labels in (right, watch.labels)
    )
    return hits / counts
