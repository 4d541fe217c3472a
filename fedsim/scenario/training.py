"""How clients train, honest ones and the adversary's."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from fedsim import constraints  # noqa: F401 (a kind registers itself when it is imported)
from fedsim.registry import Choice, OneOf
from fedsim.scenario.section import Above, Decay, Momentum, NotNegative, Section, Whole, default

Milestones = list[Annotated[float, Field(gt=0, lt=1)]]
Constraints = list[Annotated[Choice, OneOf("constraints")]]


class Training(Section):
    """Local training: a number of epochs or of steps (one epoch if neither is said)."""

    epochs: Whole | None = None
    """Passes over the client's data."""
    steps: Whole | None = None
    """Optimizer steps, instead of epochs."""
    batch_size: Whole = 64
    lr: Above
    """Learning rate of the local SGD."""
    momentum: Momentum = 0.0
    weight_decay: NotNegative = 0.0
    lr_decay: Decay = 1.0
    """Factor on the learning rate per round."""

    @model_validator(mode="before")
    @classmethod
    def _one_epoch(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"epochs", "steps"} & given.keys():
            return {"epochs": 1, **given}
        return given


class MaliciousTraining(Training):
    """Local training of an attacker, complete."""

    lr_milestones: Milestones = default([])
    lr_factor: Above = 0.1
    constraints: Constraints = default([])


class AdversaryTraining(Section):
    """How attackers train where it differs from `clients.training`."""

    epochs: Whole | None = None
    steps: Whole | None = None
    batch_size: Whole | None = None
    lr: Above | None = None
    momentum: Momentum | None = None
    weight_decay: NotNegative | None = None
    lr_decay: Decay | None = None
    lr_milestones: Milestones = default([])
    """Shares of the epochs (or steps) after which the learning rate is multiplied by lr_factor."""
    lr_factor: Above = 0.1
    constraints: Constraints = default([])
    """Applied in order after every local step."""

    def merged(self, honest: Training) -> MaliciousTraining:
        """The full training: what is not said here is as in `honest`."""
        own = {name: value for name, value in self if value is not None}
        if "epochs" in own or "steps" in own:
            own = {"epochs": None, "steps": None, **own}
        return MaliciousTraining.model_validate({**dict(honest), **own})
