"""The summary of a run: what summary.json says, computed from the records alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.results.detection import acting_rounds, detection
from fedsim.results.files import Record, plain
from fedsim.results.flags import Evidence, raised

_TWIN_SCORES = ("hash", "accuracy", "attack_success_rate")


def summarize(  # noqa: PLR0913  a key of summary.json each, or what it is computed from
    *,
    name: str,
    hash: str,
    seed: int,
    engine: str,
    device: str,
    rounds: Sequence[Record],
    clients: Sequence[Record],
    num_rounds: int,
    last_attack_round: int | None,
    flag_rounds: Mapping[str, Sequence[int]],
    accuracy_per_class: Sequence[float | None] | None,
    num_classes: int,
    assumed: int | None,
    seconds: float,
    parameters_sha256: str,
    certified: Mapping[str, Any] | None = None,
    alarms: Mapping[str, Mapping[str, Any]] | None = None,
    after: Sequence[Mapping[str, Any]] = (),
    twin: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The object of summary.json, as it is written. What does not apply, NaN too, is None.

    `rounds` starts with round 0. `last_attack_round` is the last round in which the adversary may
    act (`num_rounds` for a schedule without end), None without an adversary that has clients.
    `assumed` is the rule's `num_byzantine`, `twin` the summary of the clean twin, `alarms` what the
    monitors said, `{name: {text, rounds}}`, `after` what was found in the finished model.
    """
    last = rounds[-1]
    end = None if last_attack_round is None else min(last_attack_round, num_rounds)
    evidence = Evidence(rounds, clients, num_classes, end, assumed, twin, flag_rounds)
    summary = {
        "name": name,
        "hash": hash,
        "seed": seed,
        "engine": engine,
        "device": device,
        "rounds": last["round"],
        "accuracy": last["accuracy"],
        "accuracy_per_class": None if accuracy_per_class is None else list(accuracy_per_class),
        "attack_success_rate": last["attack_success_rate"],
        "robust_accuracy": last["robust_accuracy"],
        "detection": detection(clients),
        "clean_twin": against_twin(last, twin),
        "durability": durability(rounds, acting_rounds(clients), end),
        "certified": certified,
        "failures": failures(clients),
        "flags": [*raised(evidence), *({"flag": k, **told} for k, told in (alarms or {}).items())],
        "after": list(after),
        "seconds": seconds,
        "parameters_sha256": parameters_sha256,
    }
    return dict(plain(summary))


def against_twin(last: Record, twin: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The clean twin's scores, and how much accuracy the attack cost against it."""
    if twin is None:
        return None
    known = None not in (twin["accuracy"], last["accuracy"])
    drop = twin["accuracy"] - last["accuracy"] if known else None
    return {**{key: twin[key] for key in _TWIN_SCORES}, "accuracy_drop": drop}


def durability(
    rounds: Sequence[Record], acted: set[int], last_attack_round: int | None
) -> dict[str, Any] | None:
    """How long the attack's success outlives it, from the last round in which somebody acted.

    `at` holds the attack success rate every 10 rounds after it (None in a round that was not
    evaluated), `rounds_to_half` after how many rounds it was first seen at or below half of where
    it stood when last measured under attack; None if never, or if it was 0 or not measured then.
    None altogether without an attack, without a round or a measured success after it, or where the
    adversary may still act when the run ends (that nobody was drawn at the end is chance).
    """
    end = rounds[-1]["round"]
    if not acted or (last_attack_round is not None and last_attack_round >= end):
        return None
    left = max(acted)
    asr = {record["round"] - left: record["attack_success_rate"] for record in rounds}
    after = {k: rate for k, rate in asr.items() if k > 0 and rate is not None}
    if not after:
        return None
    stood = [rate for k, rate in asr.items() if min(acted) - left <= k <= 0 and rate is not None]
    half = stood[-1] / 2 if stood and stood[-1] > 0 else None
    halved = (k for k, rate in after.items() if half is not None and rate <= half)
    at = {str(k): after.get(k) for k in range(10, end - left + 1, 10)}
    return {"last_round": left, "at": at, "rounds_to_half": next(halved, None)}


def failures(clients: Sequence[Record]) -> dict[str, int]:
    """How many replies failed for which reason; empty if none did."""
    reasons = Counter(row["failed"] for row in clients if row["failed"] is not None)
    return dict(sorted(reasons.items()))
