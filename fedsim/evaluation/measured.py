"""What one cell of a suite says of a rule, and what the seeds of one attack say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fedsim.errors import OUT_OF_RANGE, RunError
from fedsim.reporting.spelling import NOBODY, deeds
from fedsim.results import Run
from fedsim.results.stats import Interval, mean_interval
from fedsim.scenario import Cell, Scenario

DETECTION = ("precision", "recall", "false_positive_rate", "auc")

Key = tuple[str, float, str]
"""An attack, the share of malicious clients, and what else the suite varies."""


@dataclass(frozen=True)
class Measured:
    """One cell. Shares in [0, 1]; None where it does not apply.

    A model that an attack has driven out of the range of numbers is `destroyed`: it counts as one
    that guesses, as does one that left it with nobody attacking, which has never learned either.
    """

    key: Key
    seed: int
    hash: str
    accuracy: float
    attack_success_rate: float | None
    twin_accuracy: float
    twin_success: float | None
    detection: Mapping[str, float | None]
    flags: tuple[str, ...]
    destroyed: bool
    learns: bool
    seconds: float | None

    @property
    def accuracy_drop(self) -> float:
        """The accuracy that the attack costs against the clean twin."""
        return self.twin_accuracy - self.accuracy

    @property
    def success_rise(self) -> float | None:
        """The attack success rate beyond the clean twin's."""
        if self.attack_success_rate is None or self.twin_success is None:
            return None
        return self.attack_success_rate - self.twin_success

    @property
    def damage(self) -> float:
        """max(ASR − twin's ASR, accuracy drop), at least 0."""
        return max(0.0, self.accuracy_drop, self.success_rise or 0.0)


def measure(cell: Cell, outcome: Run | str | None, output: Path, guess: float) -> Measured:
    """What came of `cell`, whose run and clean twin lie in `output`; `guess` is 1 / classes.

    Raises: RunError if it failed for another reason than a model out of range.
    """
    if not isinstance(outcome, Run) and OUT_OF_RANGE not in (outcome or ""):
        raise RunError(f"{_named(cell.scenario)} failed: {outcome or 'it was not played'}")
    scenario = cell.scenario
    clean = scenario.twin()
    twin = Run(output / f"{clean.name}-{clean.hash8}")
    before = twin.summary if (twin.path / "summary.json").is_file() else None
    after = outcome.summary if isinstance(outcome, Run) else None
    flags = [flag["flag"] for flag in (after or {}).get("flags", [])]
    return Measured(
        key=(attack_name(scenario), _share(scenario), _setting(cell)),
        seed=scenario.seed,
        hash=scenario.hash8,
        accuracy=after["accuracy"] if after else guess,
        attack_success_rate=after["attack_success_rate"] if after else None,
        twin_accuracy=before["accuracy"] if before else guess,
        twin_success=before["attack_success_rate"] if before else None,
        detection={k: ((after or {}).get("detection") or {}).get(k) for k in DETECTION},
        flags=tuple(flags),
        destroyed=after is None,
        learns=before is not None
        and all(flag["flag"] != "never_learned" for flag in before["flags"]),
        seconds=_seconds(outcome) if isinstance(outcome, Run) else None,
    )


def by_attack(measured: Sequence[Measured]) -> dict[Key, list[Measured]]:
    """The cells of each attack, its seeds together, in the suite's order."""
    found: dict[Key, list[Measured]] = {}
    for one in measured:
        found.setdefault(one.key, []).append(one)
    return found


def clean_cost(measured: Sequence[Measured], mean: Sequence[Measured]) -> Interval | None:
    """The accuracy that a rule loses against the mean when nobody attacks, over the seeds.

    Both are compared in the same setting with the same seed; a seed's settings are averaged.
    """
    reference = {(one.key, one.seed): one.twin_accuracy for one in mean}
    lost: dict[int, list[float]] = {}
    for one in measured:
        lost.setdefault(one.seed, []).append(reference[one.key, one.seed] - one.twin_accuracy)
    return mean_interval([fmean(values) for values in lost.values()])


def attack_name(scenario: Scenario) -> str:
    """What the adversary does in a few words: its poison, its constraints, what it sends."""
    adversary = scenario.resolved()["adversary"]
    return deeds(adversary) if adversary else NOBODY


def _share(scenario: Scenario) -> float:
    return round(scenario.num_malicious / scenario.clients.total, 4)


def _setting(cell: Cell) -> str:
    """What the matrix varies beside the server, the adversary and the seed."""
    told = {key: text for key, text in cell.labels.items() if key != "seed"}
    rest = [text for key, text in told.items() if key.split(".")[0] not in ("server", "adversary")]
    return ", ".join(rest)


def _named(scenario: Scenario) -> str:
    return f"{scenario.name}-{scenario.hash8} ({attack_name(scenario)}, seed {scenario.seed})"


def _seconds(run: Run) -> float:
    """Seconds of aggregation in a round, on average."""
    return fmean(record["seconds.aggregate"] for record in run.rounds if record["round"] > 0)


def overall(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and half of the 95 % interval as they stand in a card."""
    interval = mean_interval(values)
    return None if interval is None else interval._asdict()
