"""Scenarios in short words: in what they differ, what the server does, what the adversary does."""

from collections.abc import Mapping, Sequence
from typing import Any

Tree = Mapping[str, Any]

STAGES = ("preaggregators", "aggregator", "postaggregators")

NOBODY = "nobody attacks"


def server_texts(scenarios: Sequence[Tree]) -> list[str]:
    """For each scenario what its server does: `clip → mean`; different servers differ in text."""
    servers = [tree.get("server") or {} for tree in scenarios]
    stages = _texts([[server.get(stage) for stage in STAGES] for server in servers])
    rest = [{k: v for k, v in server.items() if k not in STAGES} for server in servers]
    return _told_apart(stages, [_spread(server) for server in rest])


def adversary_texts(scenarios: Sequence[Tree]) -> list[str]:
    """For each what its adversary does: `backdoor + boost`; different ones differ in text."""
    adversaries = [tree["adversary"] if attacks(tree) else {} for tree in scenarios]
    texts = [deeds(one) if one else NOBODY for one in adversaries]
    return _told_apart(texts, [_spread(one) for one in adversaries])


def other_texts(scenarios: Sequence[Tree]) -> list[str]:
    """For each what else tells it from the others, but the seed; empty where nothing does."""
    apart = ("server", "adversary", "seed")
    trees = [{k: v for k, v in tree.items() if k not in apart} for tree in scenarios]
    return [join(label) for label in varying([flattened(tree) for tree in trees])]


def attacks(scenario: Tree) -> bool:
    """Whether the scenario has an adversary with any clients."""
    adversary = scenario.get("adversary") or {"clients": 0}
    return 0 not in (adversary.get("clients"), adversary.get("fraction"))


def join(labels: Mapping[str, str]) -> str:
    """The labels in one line: a rule stands for itself, other values name their key."""
    return ", ".join(
        text if is_rule(key) or key == "adversary" or "→" in text else f"{short_key(key)} {text}"
        for key, text in labels.items()
    )


def is_rule(key: str) -> bool:
    """Whether the label says what the server does."""
    return key.split(".")[0] in ("server", "rule", "aggregator")


def short_key(key: str) -> str:
    """The last word of a dotted key that is a word: `adversary.attack.0.factor` → `factor`."""
    words = [part for part in key.split(".") if not part.isdigit()]
    return (words[-1] if words else key).replace("_", " ")


def varying(flat: Sequence[Tree]) -> list[dict[str, str]]:
    """For each of the flat trees the values of those keys in which any differ, as short texts."""
    keys = dict.fromkeys(key for tree in flat for key in tree)
    differing = [key for key in keys if len({repr(tree.get(key)) for tree in flat}) > 1]
    labels = [dict[str, str]() for _ in flat]
    for key in differing:
        for label, text in zip(labels, _texts([tree.get(key) for tree in flat]), strict=True):
            label[key] = text
    return labels


def flattened(tree: Tree, prefix: str = "") -> dict[str, Any]:
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
            flat |= flattened(value, f"{place}.")
        else:
            flat[place] = value
    return flat


def deeds(adversary: Tree) -> str:
    """The names of the poison, of what holds its clients' training back, and of the attacks."""
    attack = adversary.get("attack") or []
    held = (adversary.get("training") or {}).get("constraints") or []
    sent = attack if isinstance(attack, list) else [attack]
    names = [
        one["name"].rpartition(":")[2] for one in (adversary.get("poison"), *held, *sent) if one
    ]
    return " + ".join(names) or "own training"


def _spread(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """Dotted keys to single values; a plug-in is its name, its parameters lie below it."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        place = prefix if key == "name" and prefix else f"{prefix}.{key}" if prefix else key
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            value = {str(i): item for i, item in enumerate(value)}
        flat |= _spread(value, place) if isinstance(value, Mapping) else {place: value}
    return flat


def _told_apart(texts: Sequence[str], trees: Sequence[Tree]) -> list[str]:
    """The texts; those that different trees share say in what the trees differ."""
    told = list(texts)
    for text in dict.fromkeys(texts):
        members = [i for i, other in enumerate(texts) if other == text]
        for i, label in zip(members, varying([trees[i] for i in members]), strict=True):
            tops = {k: v for k, v in label.items() if not _is_below(k, label)}
            told[i] = ", ".join(filter(None, [text, join(tops)]))
    return told


def _is_below(key: str, others: Tree) -> bool:
    """Whether the parameter belongs to a plug-in that differs itself."""
    return any(key.startswith(f"{other}.") for other in others)


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
