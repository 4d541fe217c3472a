"""Red flags: why the numbers of a run may not mean what they seem to."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fedsim.results.detection import acting_rounds
from fedsim.results.files import Record

LEARNED_MARGIN = 0.05
"""By how much accuracy has to rise to count as learning (at most half of chance)."""

HIGH_SUCCESS = 0.5
"""An attack success rate above this, where nobody has attacked, is suspicious."""

HARMED_ACCURACY = 0.02
"""An accuracy drop against the clean twin from which on an attack has done harm."""

HARMED_SUCCESS = 0.05
"""A rise of attack success over the clean twin from which on an attack has done harm."""


@dataclass(frozen=True)
class Evidence:
    """What the flags are read from; `reported` are those that the rounds raised themselves.

    `last_attack_round` is None where there is no adversary with clients; `twin` holds the clean
    twin's final accuracy and attack success rate.
    """

    rounds: Sequence[Record]
    clients: Sequence[Record]
    num_classes: int
    last_attack_round: int | None = None
    assumed: int | None = None
    twin: Mapping[str, Any] | None = None
    reported: Mapping[str, Sequence[int]] | None = None


class Finding(NamedTuple):
    """One sentence with numbers, and the rounds it is about; none if it is the whole run."""

    text: str
    rounds: list[int]


def raised(evidence: Evidence) -> list[dict[str, Any]]:
    """The flags that `evidence` raises, as `{flag, text, rounds}`, in the contracts' order."""
    found = {flag: find(evidence) for flag, find in _FINDERS.items()}
    for flag, rounds in (evidence.reported or {}).items():
        if rounds and not found.get(flag):
            found[flag] = Finding(f"Raised in {_number(len(rounds), 'round')}.", sorted(rounds))
    return [{"flag": flag, **finding._asdict()} for flag, finding in found.items() if finding]


def learning_threshold(initial: float, num_classes: int) -> float:
    """The accuracy from which on a model counts as having learned.

    max(1/K, initial) + min(0.05, 1/(2K)), but never more than half way from chance to 1, so that
    a start from a trained model need not rise further.

    >>> learning_threshold(0.1, 10), learning_threshold(0.97, 10)
    (0.15000000000000002, 0.55)
    """
    chance = 1 / num_classes
    risen = max(chance, initial) + min(LEARNED_MARGIN, chance / 2)
    return min(risen, (1 + chance) / 2)


def _never_learned(evidence: Evidence) -> Finding | None:
    start, *later = [r["accuracy"] for r in evidence.rounds if r["accuracy"] is not None] or [None]
    if start is None or not later:
        return None
    threshold = learning_threshold(start, evidence.num_classes)
    if max(later) >= threshold:
        return None
    seen = f"{start:.3f} at the start, {max(later):.3f} at best"
    return Finding(f"Clean accuracy never reached {threshold:.3f}: {seen}.", [])


def _asr_without_attack(evidence: Evidence) -> Finding | None:
    first = min(acting_rounds(evidence.clients), default=len(evidence.rounds) + 1)
    start = evidence.rounds[0]["accuracy"] or 0.0
    threshold = learning_threshold(start, evidence.num_classes)
    # A model that has learned nothing may call every image the target.
    able = [r for r in evidence.rounds if (r["accuracy"] or 0.0) >= threshold]
    free = {r["round"]: r["attack_success_rate"] for r in able if r["round"] < first}
    high = {round: asr for round, asr in free.items() if asr is not None and asr > HIGH_SUCCESS}
    twin = (evidence.twin or {}).get("attack_success_rate")
    where = []
    if high:
        where.append(f"up to {max(high.values()):.3f} before anybody attacked")
    if twin is not None and twin > HIGH_SUCCESS:
        where.append(f"{twin:.3f} on the clean twin")
    if not where:
        return None
    return Finding(f"Attack success is high without an attack: {' and '.join(where)}.", list(high))


def _precondition_broken(evidence: Evidence) -> Finding | None:
    rounds = sorted((evidence.reported or {}).get("precondition_broken", ()))
    if not rounds:
        return None
    total = max(record["round"] for record in evidence.rounds)
    text = f"The rule's precondition did not hold in {len(rounds)} of {_number(total, 'round')}"
    return Finding(f"{text}; the model stayed as it was.", rounds)


def _no_malicious_drawn(evidence: Evidence) -> Finding | None:
    if evidence.last_attack_round is None or acting_rounds(evidence.clients):
        return None
    total = max(record["round"] for record in evidence.rounds)
    return Finding(f"No malicious client attacked in any of {_number(total, 'round')}.", [])


def _replies_dropped(evidence: Evidence) -> Finding | None:
    dropped = [row for row in evidence.clients if row["failed"] is not None]
    if not dropped:
        return None
    reasons = Counter(row["failed"] for row in dropped)
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    text = (
        f"Dropped {len(dropped)} of {_number(len(evidence.clients), 'reply', 'replies')}: {told}."
    )
    return Finding(text, sorted({row["round"] for row in dropped}))


def _baseline_unharmed(evidence: Evidence) -> Finding | None:
    acted, twin, last = acting_rounds(evidence.clients), evidence.twin, evidence.rounds[-1]
    if not acted or twin is None or None in (twin["accuracy"], last["accuracy"]):
        return None
    drop = twin["accuracy"] - last["accuracy"]
    rise = _success_rise(evidence, max(acted))
    if drop >= HARMED_ACCURACY or (rise or 0.0) >= HARMED_SUCCESS:
        return None
    text = f"Against the clean twin the attack changed accuracy by {-drop:+.3f}"
    text += "" if rise is None else f" and attack success by {rise:+.3f}"
    return Finding(f"{text}: a defence that works, or an attack that does not.", [])


def _success_rise(evidence: Evidence, last_acted: int) -> float | None:
    """How far attack success stood above the twin's when the attack ended or the run did."""
    measured = [r for r in evidence.rounds if r["attack_success_rate"] is not None]
    ends = [*[r for r in measured if r["round"] <= last_acted][-1:], *measured[-1:]]
    reached = [r["attack_success_rate"] for r in ends]
    before = (evidence.twin or {}).get("attack_success_rate")
    return max(reached) - before if reached and before is not None else None


def _assumed_more_than_true(evidence: Evidence) -> Finding | None:
    if evidence.assumed is None:
        return None
    malicious: Counter[int] = Counter()
    for row in evidence.clients:
        malicious[row["round"]] += row["malicious"]
    fewer = {round: true for round, true in malicious.items() if true < evidence.assumed}
    if not fewer:
        return None
    where = f"{len(fewer)} of {_number(len(malicious), 'round')}"
    text = f"The rule assumes {evidence.assumed} malicious clients; {where} had fewer"
    return Finding(f"{text}, down to {min(fewer.values())}.", sorted(fewer))


_FINDERS: dict[str, Callable[[Evidence], Finding | None]] = {
    "never_learned": _never_learned,
    "asr_without_attack": _asr_without_attack,
    "precondition_broken": _precondition_broken,
    "no_malicious_drawn": _no_malicious_drawn,
    "replies_dropped": _replies_dropped,
    "baseline_unharmed": _baseline_unharmed,
    "assumed_more_than_true": _assumed_more_than_true,
}


def _number(count: int, noun: str, nouns: str = "") -> str:
    return f"{count} {noun if count == 1 else nouns or noun + 's'}"
