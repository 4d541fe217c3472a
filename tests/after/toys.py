"""Checks small enough to know what they will say, as a user would write them."""

import copy

import torch

from fedsim.filters import filters
from fedsim.inspections import inspections
from fedsim.monitors import monitors
from fedsim.repairs import repairs
from fedsim.suspects import Filtered, Recovered, Verdict


@inspections.declare(data=False)
def says_so(suspect, *, score: float = 3.0):
    """What it is told to say, with a trigger in one corner.

    Paper: Folklore.
    """
    c, h, w = suspect.shape
    mask = torch.zeros(1, h, w)
    mask[:, -3:, -3:] = 1
    return Verdict(score, 2.0, target=2, trigger=Recovered(mask, torch.ones(c, h, w)))


@repairs.register
def forgets(suspect, *, bias: float = 50.0):
    """A model that never says what the last verdict suspects.

    Paper: Folklore.
    """
    if suspect.verdict is None:
        raise ValueError("forgets: nobody has suspected a class")
    model = copy.deepcopy(suspect.model)
    list(model.parameters())[-1].data[suspect.verdict.target] -= bias
    return model


@repairs.register
def newborn(suspect):
    """A new network.

    Paper: Folklore.
    """
    return suspect.fresh(suspect.generator)


@filters.declare()
def bright_corner(suspect, *, limit: float = 0.9):
    """Rejects what is bright in the lower right corner.

    Paper: Folklore.
    """
    assert suspect.images is not None

    def front(images):
        return Filtered(images, images[:, :, -3:, -3:].flatten(1).min(1).values > limit)

    return front


@monitors.register
def counts(watch, *, over: int = 2):
    """Counts rounds.

    Paper: Folklore.
    """
    rounds = watch.state.get("rounds", torch.tensor(0)) + 1
    alarm = f"{int(rounds)} rounds seen" if rounds > over else None
    return alarm, {"rounds": rounds}


def undeclared(suspect):
    """Nobody says of which kind."""
    return suspect.model
