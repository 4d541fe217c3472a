"""The score table as numbers: one row for each set of labels, seeds averaged."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean
from typing import Any

from fedsim.reporting.labels import Labels, without_seed
from fedsim.reporting.spelling import is_rule
from fedsim.results.stats import Interval, mean_interval

Summary = Mapping[str, Any]
Entry = tuple[Labels, Summary]
Key = tuple[tuple[str, str], ...]
Reader = Callable[[Summary], float | None]


@dataclass(frozen=True)
class Row:
    """One row: the labels without the seed, and what was measured over the seeds."""

    labels: dict[str, str]
    seeds: int
    scores: dict[str, Interval | None]
    flags: dict[str, int]

    def value(self, key: str) -> float | None:
        """The mean of a score, or None where it does not apply."""
        score = self.scores.get(key)
        return None if score is None else score.mean


def number(value: object) -> float | None:
    """`value` as a finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def _top(key: str) -> Reader:
    return lambda summary: number(summary.get(key))


def _inside(outer: str, inner: str) -> Reader:
    return lambda summary: number((summary.get(outer) or {}).get(inner))


SCORES: dict[str, Reader] = {
    "accuracy": _top("accuracy"),
    "attack_success_rate": _top("attack_success_rate"),
    "twin_success": _inside("clean_twin", "attack_success_rate"),
    "robust_accuracy": _top("robust_accuracy"),
    "accuracy_drop": _inside("clean_twin", "accuracy_drop"),
    "twin_accuracy": _inside("clean_twin", "accuracy"),
    "recall": _inside("detection", "recall"),
    "false_positive_rate": _inside("detection", "false_positive_rate"),
}


def rows(entries: Sequence[Entry]) -> list[Row]:
    """The rows of the table in the order in which their labels first appear."""
    grouped: dict[Key, list[Summary]] = {}
    for labels, summary in entries:
        members = grouped.setdefault(tuple(without_seed(labels).items()), [])
        if not any(_same_run(summary, other) for other in members):
            members.append(summary)
    costs = _costs(grouped)
    return [_row(dict(key), members, costs.get(key)) for key, members in grouped.items()]


def _same_run(one: Summary, other: Summary) -> bool:
    return one.get("hash") is not None and one["hash"] == other.get("hash")


def _row(labels: dict[str, str], members: Sequence[Summary], cost: Interval | None) -> Row:
    scores = {key: mean_interval(map(read, members)) for key, read in SCORES.items()}
    flags = Counter(item["flag"] for summary in members for item in summary.get("flags") or [])
    return Row(labels, len(members), scores | {"cost": cost}, dict(flags))


def _costs(grouped: Mapping[Key, Sequence[Summary]]) -> dict[Key, Interval | None]:
    """What each rule costs when nobody attacks: accuracy lost against the reference rule.

    The reference is plain `mean` in the same setting; where it is not among the rows, the rule
    whose clean twin is the most accurate. Seeds are compared pairwise.
    """
    settings: dict[Key, list[Key]] = {}
    for key in grouped:
        settings.setdefault(tuple(item for item in key if not is_rule(item[0])), []).append(key)
    costs: dict[Key, Interval | None] = {}
    for keys in settings.values():
        twins = {key: _twins(grouped[key]) for key in keys}
        if len(keys) < 2 or not any(twins.values()):
            continue
        reference = twins[_reference(twins)]
        for key, own in twins.items():
            pairs = [reference[seed] - own[seed] for seed in own if seed in reference]
            costs[key] = mean_interval(pairs)
    return costs


def _twins(members: Sequence[Summary]) -> dict[Any, float]:
    read = SCORES["twin_accuracy"]
    return {s.get("seed"): value for s in members if (value := read(s)) is not None}


def _reference(twins: Mapping[Key, Mapping[Any, float]]) -> Key:
    measured = [key for key, own in twins.items() if own]
    averaging = [key for key in measured if is_plain_mean(dict(key))]
    return averaging[0] if averaging else max(measured, key=lambda key: mean(twins[key].values()))


def is_plain_mean(labels: Labels) -> bool:
    """Whether the labels say that the server only averages."""
    return {text for key, text in labels.items() if is_rule(key)} == {"mean"}
