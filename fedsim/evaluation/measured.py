"""What one cell of a suite says of a rule, and what the seeds of one attack say together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from fedsim.errors import OUT_OF_RANGE, RunError
from fedsim.reporting.spelling import adversary_texts, attacks
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


def measure(
    key: Key, cell: Cell, outcome: Run | str | None, output: Path, guess: float
) -> Measured:
    """What came of `cell`, whose run and clean twin lie in `output`.

    `guess` is 1 / classes, for a cell of which neither of the two tells how many there are.

    Raises: RunError if it failed for another reason than a model out of range.
    """
    scenario = cell.scenario
    if not isinstance(outcome, Run) and OUT_OF_RANGE not in (outcome or ""):
        told = f"{scenario.name}-{scenario.hash8} ({key[0]}, seed {scenario.seed})"
        raise RunError(f"{told} failed: {outcome or 'it was not played'}")
    clean = scenario.twin()
    twin = Run(output / f"{clean.name}-{clean.hash8}")
    before = twin.summary if (twin.path / "summary.json").is_file() else None
    after = outcome.summary if isinstance(outcome, Run) else None
    if after and before is None:
        raise RunError(f"{twin.path}: the clean twin of {scenario.name}-{scenario.hash8} is lost")
    guess = guess_of(after or before) or guess
    flags = [flag["flag"] for flag in (after or {}).get("flags", [])]
    return Measured(
        key=key,
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


def guess_of(summary: Mapping[str, Any] | None) -> float | None:
    """The accuracy of a model that guesses, where a run tells how many classes there are."""
    classes = (summary or {}).get("accuracy_per_class")
    return 1 / len(classes) if classes else None


def keys_of(cells: Sequence[Cell]) -> list[Key]:
    """For each cell its attack; the seeds of one attack, and they alone, have the same."""
    names = adversary_texts([_without_share(cell.scenario) for cell in cells])
    return [
        (name, _share(cell.scenario), _setting(cell))
        for name, cell in zip(names, cells, strict=True)
    ]


def _without_share(scenario: Scenario) -> dict[str, Any]:
    """The resolved scenario, with as many malicious clients as any other that has some."""
    tree = scenario.resolved()
    if not attacks(tree) or isinstance(tree["adversary"]["clients"], list):
        return tree
    return {**tree, "adversary": {**tree["adversary"], "clients": None, "fraction": 1.0}}


def _share(scenario: Scenario) -> float:
    return round(scenario.num_malicious / scenario.clients.total, 4)


def _setting(cell: Cell) -> str:
    """What the matrix varies beside the server, the adversary and the seed."""
    told = {key: text for key, text in cell.labels.items() if key != "seed"}
    rest = [t for key, t in told.items() if key != "server" and key.split(".")[0] != "adversary"]
    return ", ".join(rest)


def _seconds(run: Run) -> float:
    """Seconds of aggregation in a round, on average."""
    return fmean(record["seconds.aggregate"] for record in run.rounds if record["round"] > 0)


def overall(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Mean and half of the 95 % interval as they stand in a card."""
    interval = mean_interval(values)
    return None if interval is None else interval._asdict()
