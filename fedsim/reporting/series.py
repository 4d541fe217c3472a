"""Curves over rounds: seeds averaged, with the interval of the mean."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from typing import Any

from fedsim.reporting.labels import RunLike, group
from fedsim.reporting.scores import number
from fedsim.reporting.spelling import attacks
from fedsim.results.stats import mean_interval

Record = Mapping[str, Any]
Window = tuple[int, int]


@dataclass(frozen=True)
class Curve:
    """Values by round; `half` is half the interval's width, 0 where there is one seed."""

    rounds: list[int]
    mean: list[float]
    half: list[float]


@dataclass(frozen=True)
class Series:
    """What a figure shows of one group of seeds."""

    text: str
    curves: dict[str, Curve]
    twins: dict[str, Curve] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    last: int = 0


def curve(seeds: Sequence[Mapping[int, float]]) -> Curve | None:
    """The mean over the seeds at the rounds that all of them measured; None without any."""
    measured = [seed for seed in seeds if seed]
    if not measured:
        return None
    rounds = sorted(set.intersection(*(set(seed) for seed in measured)))
    spans = [mean_interval([seed[r] for seed in measured]) for r in rounds]
    known = [(r, span) for r, span in zip(rounds, spans, strict=True) if span]
    return Curve(
        [r for r, _ in known], [s.mean for _, s in known], [s.half or 0.0 for _, s in known]
    ) if known else None  # fmt: skip


def by_round(records: Sequence[Record], key: str) -> dict[int, float]:
    """Round → value of the rounds in which `key` was measured."""
    values = {record["round"]: number(record.get(key)) for record in records}
    return {round_: value for round_, value in values.items() if value is not None}


def learning(runs: Sequence[RunLike]) -> list[Series]:
    """Accuracy and attack success by round, with those of the clean twins."""
    keys = ("accuracy", "attack_success_rate")
    return [
        Series(
            members.text,
            _curves(members.runs, keys, lambda run, key: by_round(run.rounds, key)),
            _curves(members.runs, keys, _twin),
            windows(members.runs[0]),
            _last(members.runs),
        )
        for members in group(runs)
    ]


def detection(runs: Sequence[RunLike]) -> list[Series]:
    """Recall and false positive rate up to each round; groups without weights are left out."""
    series = [
        Series(
            members.text,
            _curves(members.runs, ("recall", "false_positive_rate"), _detected),
            windows=windows(members.runs[0]),
            last=_last(members.runs),
        )
        for members in group(runs)
    ]
    return [one for one in series if one.curves]


def windows(run: RunLike) -> tuple[Window, ...]:
    """The spans of rounds in which the schedule lets somebody attack."""
    if not attacks(run.scenario):
        return ()
    schedule = run.scenario["adversary"].get("schedule") or {}
    total = _last([run])
    if listed := schedule.get("rounds"):
        return tuple(_merged([r for r in listed if r <= total]))
    first, every = schedule.get("first", 1), schedule.get("every", 1)
    stop = min(schedule.get("last") or total, total)
    return tuple(_merged(range(first, stop + 1, every)))


def _last(runs: Sequence[RunLike]) -> int:
    return max((record["round"] for run in runs for record in run.rounds), default=0)


def _merged(rounds: Sequence[int]) -> list[Window]:
    spans: list[Window] = []
    for round_ in sorted(set(rounds)):
        if spans and round_ == spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], round_)
        else:
            spans.append((round_, round_))
    return spans


def _curves(
    runs: Sequence[RunLike],
    keys: Sequence[str],
    read: Callable[[RunLike, str], Mapping[int, float]],
) -> dict[str, Curve]:
    found = {key: curve([read(run, key) for run in runs]) for key in keys}
    return {key: one for key, one in found.items() if one is not None}


def _twin(run: RunLike, key: str) -> dict[int, float]:
    """The clean twin's curve from its own folder beside the run's; else its end, as a level."""
    twin = run.summary.get("clean_twin")
    if not twin:
        return {}
    for records in sorted(run.path.parent.glob(f"*-{twin['hash']}/rounds.jsonl")):
        lines = [loads(line) for line in records.read_text().splitlines() if line.strip()]
        return by_round(lines, key)
    level = number(twin.get(key))
    measured = by_round(run.rounds, key)
    ends = (min(measured, default=0), max(measured, default=0))
    return {} if level is None else dict.fromkeys(ends, level)


def _detected(run: RunLike, key: str) -> dict[int, float]:
    """The share of weight-zero rows among acting (recall) or never-malicious ones, so far."""
    role, wanted = ("acting", True) if key == "recall" else ("malicious", False)
    zeroed: dict[int, list[bool]] = {row["round"]: [] for row in run.clients if row["acting"]}
    for row in run.clients:
        if row["round"] in zeroed and row["weight"] is not None and row[role] is wanted:
            zeroed[row["round"]].append(row["weight"] == 0)
    hit = total = 0
    values: dict[int, float] = {}
    for round_ in range(min(zeroed, default=0), _last([run]) + 1):
        rows = zeroed.get(round_, [])
        hit, total = hit + sum(rows), total + len(rows)
        if total:
            values[round_] = hit / total
    return values
