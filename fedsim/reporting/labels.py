"""What tells several runs apart, as short texts, and which of them are seeds of one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fedsim.reporting.spelling import adversary_texts, flattened, join, varying

Labels = Mapping[str, str]


class RunLike(Protocol):
    """What a report reads of a run: its records and the folder that holds them."""

    @property
    def path(self) -> Path:
        """The run folder."""

    @property
    def labels(self) -> Mapping[str, str]:
        """What tells it from the other cells of its sweep; empty without a sweep."""

    @property
    def scenario(self) -> dict[str, Any]:
        """The resolved scenario."""

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` holds."""

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """What `rounds.jsonl` holds."""

    @property
    def clients(self) -> list[dict[str, Any]]:
        """What `clients.jsonl` holds."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but the seed."""

    labels: dict[str, str]
    text: str
    runs: tuple[RunLike, ...]


def without_seed(labels: Labels) -> dict[str, str]:
    """The labels that make a row of the table; seeds of one row are averaged."""
    return {key: text for key, text in labels.items() if key != "seed"}


def distinct(runs: Sequence[RunLike]) -> list[RunLike]:
    """Each run once, however often it was named."""
    return list({run.path.absolute(): run for run in runs}.values())


def group(runs: Sequence[RunLike]) -> list[Group]:
    """The runs by everything but their seed, in the order given."""
    found: dict[tuple[tuple[str, str], ...], list[RunLike]] = {}
    for run, label in zip(runs, labelled(runs), strict=True):
        found.setdefault(tuple(without_seed(label).items()), []).append(run)
    return [
        Group(
            dict(key), join(dict(key)) or printable(str(members[0].summary["name"])), tuple(members)
        )
        for key, members in found.items()
    ]


def labelled(runs: Sequence[RunLike]) -> list[dict[str, str]]:
    """The labels of each run: those of its sweep where they tell all in which the runs differ."""
    own = [dict(run.labels) for run in runs]
    same_keys = len({tuple(label) for label in own}) == 1
    unique = same_keys and len({tuple(label.items()) for label in own}) == len(own)
    told = _spelled(own, runs) if unique and _say_all(own, runs) else differences(runs)
    return [{printable(key): printable(text) for key, text in one.items()} for one in told]


def _say_all(labels: Sequence[Labels], runs: Sequence[RunLike]) -> bool:
    """Whether the labels are of every key in which the runs differ, and seeds differ in no other.

    Those of two sweeps are silent about what each sweep holds fixed.
    """
    flat = [flattened(run.scenario) for run in runs]
    keys = {key for one in varying(flat) for key in one}
    members: dict[str, set[str]] = {}
    for label, values in zip(labels, flat, strict=True):
        content = repr({**values, "seed": None})
        members.setdefault(repr(without_seed(label)), set()).add(content)
    is_covered = all(any(_overlap(key, other) for other in labels[0]) for key in keys)
    return is_covered and all(len(contents) == 1 for contents in members.values())


def _overlap(key: str, other: str) -> bool:
    """Whether one of the dotted keys lies in the other."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _spelled(labels: list[dict[str, str]], runs: Sequence[RunLike]) -> list[dict[str, str]]:
    """The labels with what the adversary does in words, where a sweep gives a whole mapping."""
    own = [label.get("adversary", "") for label in labels]
    texts = adversary_texts([run.scenario for run in runs])
    if not any(text.startswith("{") for text in own) or len(set(texts)) < len(set(own)):
        return labels
    return [{**one, "adversary": text} for one, text in zip(labels, texts, strict=True)]


def printable(text: str) -> str:
    r"""`text` with � for what neither a drawing nor a page can hold.

    >>> printable("a\x00b")
    'a�b'
    """
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def differences(runs: Sequence[RunLike]) -> list[dict[str, str]]:
    """For each run the scenario values in which the runs differ, as short texts.

    Two runs that differ in nothing are told apart by their folders' names.
    """
    labels = varying([flattened(run.scenario) for run in runs])
    if len({tuple(label.items()) for label in labels}) < len(labels):
        for label, run in zip(labels, runs, strict=True):
            label["run"] = run.path.name
    return labels
