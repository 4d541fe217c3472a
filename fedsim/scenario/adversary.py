"""Who attacks, when, with what knowledge and by which means."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from fedsim import attacks, poisons, triggers  # noqa: F401 (kinds register when imported)
from fedsim.registry import Choice, OneOf
from fedsim.scenario.section import Section, Whole, default
from fedsim.scenario.training import AdversaryTraining
from fedsim.strict import Count, Share


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


Attacks = Annotated[list[Annotated[Choice, OneOf("attacks")]], BeforeValidator(_listed)]


class Schedule(Section):
    """When the attackers act: every `every`-th round of first … last, or in `rounds`."""

    first: Whole = 1
    last: Whole | None = None
    """The last round of the run if absent."""
    every: Whole = 1
    rounds: Annotated[list[Whole], Field(min_length=1)] | None = None
    """The rounds themselves, instead of first, last and every."""
    forced: bool = False
    """Whether acting attackers enter the cohort before anybody else."""
    turns: Literal["all", "each"] = "all"
    """each: the k-th of `rounds` belongs to the k-th attacker alone."""
    pool: Literal["fixed", "redrawn"] = "fixed"
    """redrawn: who is malicious is drawn anew in every round."""

    def active(self, round: int, num_rounds: int) -> bool:
        """Whether the adversary acts in `round` of a run of `num_rounds`."""
        if self.rounds is not None:
            return round in self.rounds
        last = num_rounds if self.last is None else self.last
        return self.first <= round <= last and (round - self.first) % self.every == 0

    def turn(self, round: int) -> int | None:
        """The position of the one attacker whose turn it is; None if it is nobody's alone."""
        if self.turns == "all" or self.rounds is None or round not in self.rounds:
            return None
        return self.rounds.index(round)


class Adversary(Section):
    """The one mind behind all malicious clients. `clients: 0` only measures the poison."""

    clients: Count | list[Count] | None = None
    """Ids, or a number of clients."""
    fraction: Share | None = None
    """Share of all clients, instead of `clients`; the nearest whole number counts."""
    knowledge: Literal["own", "benign", "defense"] = "own"
    schedule: Schedule = default({})
    poison: Annotated[Choice, OneOf("poisons")] | None = None
    """What it does to the data."""
    training: AdversaryTraining | None = None
    """How its clients train."""
    attack: Attacks = default([])
    """What its clients send: one attack, or a list applied in order."""

    def count(self, total: int) -> int:
        """How many of `total` clients are malicious."""
        if isinstance(self.clients, list):
            return len(self.clients)
        if self.clients is not None:
            return self.clients
        return int((self.fraction or 0) * total + 0.5 + 1e-9)
