"""What tells several runs apart, as short texts, and which of them are seeds of one another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Labels = Mapping[str, str]

STAGES = ("preaggregators", "aggregator", "postaggregators")


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
    """The labels of each run: those of its sweep where they tell all runs apart."""
    own = [dict(run.labels) for run in runs]
    same_keys = len({tuple(label) for label in own}) == 1
    sweep = same_keys and len({tuple(label.items()) for label in own}) == len(own)
    told = own if sweep else differences(runs)
    return [{printable(key): printable(text) for key, text in one.items()} for one in told]


def printable(text: str) -> str:
    r"""`text` with � for what neither a drawing nor a page can hold.

    >>> printable("a\x00b")
    'a�b'
    """
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def join(labels: Labels) -> str:
    """The labels in one line: a rule stands for itself, other values name their key."""
    return ", ".join(
        text if is_rule(key) or "→" in text else f"{short_key(key)} {text}"
        for key, text in labels.items()
    )


def is_rule(key: str) -> bool:
    """Whether the label says what the server does."""
    return key.split(".")[0] in ("server", "rule", "aggregator")


def short_key(key: str) -> str:
    """The last word of a dotted key that is a word: `adversary.attack.0.factor` → `factor`."""
    words = [part for part in key.split(".") if not part.isdigit()]
    return (words[-1] if words else key).replace("_", " ")


def differences(runs: Sequence[RunLike]) -> list[dict[str, str]]:
    """For each run the scenario values in which the runs differ, as short texts.

    Two runs that differ in nothing are told apart by their folders' names.
    """
    flat = [_flatten(run.scenario) for run in runs]
    keys = [key for tree in flat for key in tree]
    varying = [key for key in dict.fromkeys(keys) if len({repr(t.get(key)) for t in flat}) > 1]
    labels = [dict[str, str]() for _ in runs]
    for key in varying:
        for label, text in zip(labels, _texts([tree.get(key) for tree in flat]), strict=True):
            label[key] = text
    if len({tuple(label.items()) for label in labels}) < len(labels):
        for label, run in zip(labels, runs, strict=True):
            label["run"] = run.path.name
    return labels


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys to values; a plug-in, a list and the server's stages are values."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        place = f"{prefix}{key}"
        if place in ("name", "engine"):
            continue
        if place == "server" and isinstance(value, Mapping):
            flat["server"] = [value.get(stage) for stage in STAGES]
            value = {k: v for k, v in value.items() if k not in STAGES}
        if isinstance(value, Mapping) and "name" not in value:
            flat |= _flatten(value, f"{place}.")
        else:
            flat[place] = value
    return flat


def _texts(values: Sequence[Any]) -> list[str]:
    """Short texts, spelled out with parameters where the names alone would collide."""
    short = [_text(value, full=False) for value in values]
    kinds = {text: {repr(v) for v, t in zip(values, short, strict=True) if t == text}
             for text in short}  # fmt: skip
    return [
        _text(value, full=True) if len(kinds[text]) > 1 else text
        for value, text in zip(values, short, strict=True)
    ]


def _text(value: Any, full: bool) -> str:
    match value:
        case None:
            return "none"
        case {"name": name, **parameters}:
            listed = ", ".join(f"{k}={_text(v, full)}" for k, v in parameters.items())
            return f"{name}({listed})" if full and listed else str(name)
        case list():
            flat = [part for item in value for part in (item if isinstance(item, list) else [item])]
            stages = [_text(part, full) for part in flat if part is not None]
            plugin = any(isinstance(part, Mapping) for part in flat)
            return (" → " if plugin else ", ").join(stages) or "none"
        case Mapping():
            return ", ".join(f"{k}={_text(v, full)}" for k, v in value.items())
    return str(value)
