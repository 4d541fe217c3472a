"""Sections that are tables: after the attack, by class, cost, and failures."""

from collections.abc import Sequence

from fedsim.reporting.labels import Group, RunLike
from fedsim.reporting.parts import Grid, Section
from fedsim.reporting.scores import number
from fedsim.reporting.words import NULL, duration, listed, percent, spans
from fedsim.results.stats import mean_interval

WIDE = 20
"""Up to so many classes stand in a table; of more, the worst are named."""

PHASES = ("train", "aggregate", "evaluate")


def durability(groups: Sequence[Group]) -> Section:
    """Attack success so many rounds after the last attack."""
    known = {
        one.text: [found for run in one.runs if (found := run.summary.get("durability"))]
        for one in groups
    }
    marks = sorted({int(mark) for every in known.values() for one in every for mark in one["at"]})
    rows = [
        [text, spans([one["last_round"] for one in every])]
        + [
            percent(mean_interval(number(one["at"].get(str(m))) for one in every))
            for m in marks[:8]
        ]
        + [_halved([one["rounds_to_half"] for one in every])]
        for text, every in known.items()
        if every
    ]
    if not rows:
        return Section("")
    header = ["", "last attack", *(f"+{mark}" for mark in marks[:8]), "rounds to half"]
    sentence = (
        "Attack success (%) so many rounds after the last attack, and after how many rounds it was "
        "first seen at half of what it then was (–: not seen in this run)."
    )
    return Section("After the attack", grid=Grid(header, rows), sentences=[sentence])


def _halved(rounds: Sequence[int | None]) -> str:
    """How long the seeds took; – for those that never did."""
    seen = sorted({r for r in rounds if r is not None})
    ends = [str(r) for r in (seen if len(seen) < 2 else [seen[0], seen[-1]])]
    never = sum(r is None for r in rounds)
    if not ends:
        return NULL
    return " to ".join(ends) + (f" ({never} never)" if never else "")


def classes(groups: Sequence[Group]) -> Section:
    """Accuracy on each class."""
    known = {one.text: _by_class(one.runs[0]) for one in groups}
    shown = {text: shares for text, shares in known.items() if shares}
    if not shown:
        return Section("")
    names = list(dict.fromkeys(name for shares in shown.values() for name in shares))
    note = "Accuracy (%) on the test images of each class, after the last round."
    if any(len(one.runs) > 1 for one in groups):
        note += " First seed of each."
    if len(names) <= WIDE:
        rows = [[text, *(percent(s.get(name)) for name in names)] for text, s in shown.items()]
        return Section("Accuracy by class", grid=Grid(["", *names], rows), sentences=[note])
    rows = [[text, _worst(shares)] for text, shares in shown.items()]
    return Section(
        "Accuracy by class", grid=Grid(["", "the five lowest: class (%)"], rows), sentences=[note]
    )


def _by_class(run: RunLike) -> dict[str, float | None]:
    shares = run.summary.get("accuracy_per_class") or []
    pairs = shares.items() if isinstance(shares, dict) else enumerate(shares)
    return {str(name): number(share) for name, share in pairs}


def _worst(shares: dict[str, float | None]) -> str:
    known = sorted((share, name) for name, share in shares.items() if share is not None)
    return ", ".join(f"{name} ({percent(share)})" for share, name in known[:5]) or NULL


def failures(groups: Sequence[Group]) -> Section:
    """Why replies could not be used, and in which rounds."""
    sentences = []
    for one in groups:
        for run in one.runs:
            counts = run.summary.get("failures") or {}
            if counts:
                parts = [f"{count} {reason.replace('_', ' ')}" for reason, count in counts.items()]
                rounds = [row["round"] for row in run.clients if row["failed"]]
                where = f" (rounds {spans(rounds)})" if rounds else ""
                sentences.append(f"{one.text}, seed {run.summary['seed']}: {listed(parts)}{where}.")
    return Section("Replies that failed", sentences=sentences)


def costs(groups: Sequence[Group]) -> Section:
    """Seconds of a round by phase, and the share that the rule takes."""
    rows = [[one.text, *_cost(one.runs)] for one in groups if _phase(one.runs, "train") is not None]
    if not rows:
        return Section("")
    header = ["", *(f"{phase} s" for phase in PHASES), "aggregate %", "run", "clients"]
    sentence = (
        "Seconds of a round, means over rounds; evaluate: only of rounds that were evaluated. "
        "Aggregate %: its share of the three. Run: from the first round to the last, without the "
        "clean twin; clients: so many were trained a second."
    )
    return Section("Cost", grid=Grid(header, rows), sentences=[sentence])


def _cost(runs: Sequence[RunLike]) -> list[str]:
    known = [_phase(runs, phase) for phase in PHASES]
    total = sum(seconds or 0.0 for seconds in known)
    whole = mean_interval(number(run.summary.get("seconds")) for run in runs)
    trained = sum(record["num_clients"] for run in runs for record in run.rounds)
    busy = sum(number(record.get("seconds.train")) or 0.0 for run in runs for record in run.rounds)
    return [
        *(NULL if seconds is None else f"{seconds:.3g}" for seconds in known),
        percent((known[1] or 0.0) / total if total else None),
        NULL if whole is None else duration(whole.mean),
        f"{trained / busy:.0f} / s" if busy else NULL,
    ]


def _phase(runs: Sequence[RunLike], phase: str) -> float | None:
    """Mean seconds over the rounds after the initial model in which the phase took any."""
    seconds = [
        number(record.get(f"seconds.{phase}"))
        for run in runs
        for record in run.rounds
        if record["round"] and (phase != "evaluate" or record["accuracy"] is not None)
    ]
    found = mean_interval(seconds)
    return None if found is None else found.mean
