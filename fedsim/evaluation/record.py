"""What card.json says, computed from the runs of a suite."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from fedsim.evaluation.measured import DETECTION, Key, Measured, by_attack, clean_cost, overall
from fedsim.evaluation.suites import Suite
from fedsim.results.flags import HARMED_ACCURACY, HARMED_SUCCESS

PASSED_ON = (
    "precondition_broken",
    "assumed_more_than_true",
    "no_malicious_drawn",
    "replies_dropped",
)
"""Flags of runs that a card counts."""


@dataclass(frozen=True)
class Judged:
    """What a server does, and what its cells gave in the suite's order."""

    label: str
    server: Mapping[str, Any]
    measured: Sequence[Measured]


def card_record(
    suite: Suite,
    rule: Judged,
    references: Sequence[Judged],
    *,
    random: bool,
) -> dict[str, Any]:
    """The numbers of card.json, apart from seconds the same for the same rule and suite.

    The plain mean is the first of `references`.
    """
    mean = references[0].measured
    scores = _scores(rule.measured, mean)
    rows = [_row(key, cells, mean) for key, cells in by_attack(rule.measured).items()]
    return {
        "suite": {"name": suite.name, "hash": suite.hash, "question": suite.question},
        **scores,
        "attacks": rows,
        "seconds_per_round": _seconds(rule.measured),
        "flags": _flags(rule.measured, rows, scores["never_learned"], random),
        "references": [
            {
                "label": other.label,
                "server": dict(other.server),
                **_scores(other.measured, mean),
                "attacks": [
                    {**_named(key), "damage": overall([one.damage for one in cells])}
                    for key, cells in by_attack(other.measured).items()
                ],
                "seconds_per_round": _seconds(other.measured),
            }
            for other in references
        ],
    }


def _scores(measured: Sequence[Measured], mean: Sequence[Measured]) -> dict[str, Any]:
    """Worst case, clean cost, and their sum, by which rules are ranked; the lower the better."""
    damage = {key: [one.damage for one in cells] for key, cells in by_attack(measured).items()}
    worst = max(damage, key=lambda key: fmean(damage[key]))
    cost = clean_cost(measured, mean)
    return {
        "worst_case": {**_named(worst), "damage": overall(damage[worst])},
        "clean_cost": None if cost is None else cost._asdict(),
        "ranking_key": fmean(damage[worst]) + (cost.mean if cost else 0.0),
        "clean_accuracy": overall(_clean_accuracies(measured)),
        "never_learned": not all(one.learns for one in measured),
    }


def _clean_accuracies(measured: Sequence[Measured]) -> list[float]:
    """For each seed the accuracy of the twins, those of its settings averaged."""
    reached: dict[int, list[float]] = {}
    for one in measured:
        reached.setdefault(one.seed, []).append(one.twin_accuracy)
    return [fmean(values) for values in reached.values()]


def _row(key: Key, cells: Sequence[Measured], mean: Sequence[Measured]) -> dict[str, Any]:
    plain = [one for one in mean if one.key == key]
    found = {name: overall([one.detection[name] for one in cells]) for name in DETECTION}
    return {
        **_named(key),
        "accuracy": overall([one.accuracy for one in cells]),
        "accuracy_drop": overall([one.accuracy_drop for one in cells]),
        "attack_success_rate": overall([one.attack_success_rate for one in cells]),
        "twin_success": overall([one.twin_success for one in cells]),
        "detection": found if any(found.values()) else None,
        "damage": overall([one.damage for one in cells]),
        "mean_damage": overall([one.damage for one in plain]),
        "baseline_unharmed": not _harmed(plain),
        "destroyed": sum(one.destroyed for one in cells),
        "flags": dict(Counter(flag for one in cells for flag in one.flags if flag in PASSED_ON)),
        "seeds": [one.seed for one in cells],
        "scenarios": [one.hash for one in cells],
    }


def _named(key: Key) -> dict[str, Any]:
    attack, share, setting = key
    return {"attack": attack, "malicious": share, "setting": setting or None}


def _harmed(cells: Sequence[Measured]) -> bool:
    """Whether the attack does harm under this rule, as the flags of a run count it."""
    drop = fmean(one.accuracy_drop for one in cells)
    rises = [one.success_rise for one in cells if one.success_rise is not None]
    return drop >= HARMED_ACCURACY or (bool(rises) and fmean(rises) >= HARMED_SUCCESS)


def _seconds(measured: Sequence[Measured]) -> float | None:
    """Seconds of aggregation in a round, over all cells."""
    known = [one.seconds for one in measured if one.seconds is not None]
    return fmean(known) if known else None


def _flags(
    measured: Sequence[Measured], rows: Sequence[Mapping[str, Any]], stuck: bool, random: bool
) -> list[dict[str, str]]:
    """What keeps the card from meaning what it seems to."""
    cells = len(measured)
    found: dict[str, str] = {}
    if stuck:
        dull = sum(not one.learns for one in measured)
        found["never_learned"] = (
            f"Without any attack the model does not learn in {dull} of {cells} runs."
        )
    if random:
        found["randomness"] = "The rule draws random numbers: other draws give other scores."
    spared = [row["attack"] for row in rows if row["baseline_unharmed"]]
    if spared:
        found["baseline_unharmed"] = (
            f"The plain mean is not harmed by {', '.join(spared)}: to hold there proves nothing."
        )
    counts = Counter(flag for one in measured for flag in one.flags)
    found |= {
        flag: f"Raised in {counts[flag]} of {cells} runs." for flag in PASSED_ON if counts[flag]
    }
    destroyed = sum(one.destroyed for one in measured)
    if destroyed:
        found["destroyed"] = (
            f"In {destroyed} of {cells} runs the attack drove the model out of the range of "
            "numbers; it counts as a model that guesses."
        )
    return [{"flag": flag, "text": text} for flag, text in found.items()]
