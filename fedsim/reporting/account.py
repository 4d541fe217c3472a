"""What a report says first, in three sentences: what was attacked, what it did, what is left."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.reporting.labels import RunLike
from fedsim.reporting.scores import Row
from fedsim.reporting.series import windows
from fedsim.reporting.spelling import NOBODY, adversary_texts, attacks, server_texts
from fedsim.reporting.story import name, rule_name, story
from fedsim.reporting.words import listed, percent, points

Tree = Mapping[str, Any]

NAMED = 4
"""So many attacks are named; of more, only how many there are."""


def account(runs: Sequence[RunLike], scored: Sequence[Row]) -> list[str]:
    """The sentences; none without runs."""
    if not runs:
        return []
    if not any(attacks(run.scenario) for run in runs):
        return [_setting(runs), _learned(scored), _untested(scored)]
    return [_setting(runs), story(scored), _kept(scored)]


def _setting(runs: Sequence[RunLike]) -> str:
    """Who attacks whom, with what and when."""
    trees = [run.scenario for run in runs]
    model, data = _shared(trees, _model, "models"), _shared(trees, _dataset, "several data sets")
    total = _shared(trees, lambda tree: str(tree["clients"]["total"]), "the")
    rules = list(dict.fromkeys(server_texts(trees)))
    under = rules[0] if len(rules) == 1 else f"{len(rules)} rules"
    served = f"the server's rule is {under}" if len(rules) == 1 else f"{under} are compared"
    deeds = [text for text in dict.fromkeys(adversary_texts(trees)) if text != NOBODY]
    if not deeds:
        return f"Nobody attacks: {total} clients train {model} on {data}, aggregated by {under}."
    attackers = _shared([tree for tree in trees if attacks(tree)], _attackers, "Some")
    if len(deeds) == 1:
        what = f"with {deeds[0]}{_when(runs)}"
    else:
        named = f": {listed(deeds)}" if len(deeds) <= NAMED else ""
        what = f"in {len(deeds)} ways{named}"
    return f"{attackers} of {total} clients that train {model} on {data} attack {what}; {served}."


def _shared(trees: Sequence[Tree], read: Any, otherwise: str) -> str:
    """What all the scenarios have in common, or what is said where they differ."""
    found = {read(tree) for tree in trees}
    return found.pop() if len(found) == 1 else otherwise


def _model(tree: Tree) -> str:
    return str((tree.get("model") or {}).get("name", "a model"))


def _dataset(tree: Tree) -> str:
    return str(((tree.get("data") or {}).get("dataset") or {}).get("name", "data"))


def _attackers(tree: Tree) -> str:
    clients, fraction = tree["adversary"].get("clients"), tree["adversary"].get("fraction")
    if clients is None:
        return f"{100 * (fraction or 0):g} %"
    return str(len(clients) if isinstance(clients, list) else clients)


def _when(runs: Sequence[RunLike]) -> str:
    """The rounds of the attack, if all runs attack in the same."""
    found = {windows(run) for run in runs if attacks(run.scenario)}
    spans = found.pop() if len(found) == 1 else ()
    if not spans:
        return ""
    first, last = spans[0][0], spans[-1][1]
    if first == last:
        return f" in round {first}"
    count = sum(stop - start + 1 for start, stop in spans)
    if len(spans) == 1:
        return f" in rounds {first}–{last}"
    return f" in {count} rounds from {first} to {last}"


def _learned(scored: Sequence[Row]) -> str:
    """What accuracy was reached where nobody attacks."""
    known = [row for row in scored if row.value("accuracy") is not None]
    if not known:
        return "No accuracy was measured."
    best = max(known, key=lambda row: row.value("accuracy") or 0.0)
    least = min(known, key=lambda row: row.value("accuracy") or 0.0)
    reached = percent(best.scores["accuracy"], unit=True)
    if best is least:
        return f"Accuracy ends at {reached}."
    return (
        f"Accuracy ends between {percent(least.scores['accuracy'], unit=True)} ({name(least)}) and "
        f"{reached} ({name(best)})."
    )


def _untested(scored: Sequence[Row]) -> str:
    them = "it withstands" if len(scored) == 1 else "they withstand"
    what = "the rule costs" if len(scored) == 1 else "the rules cost"
    return f"This shows what {what}, not what {them}."


def _kept(scored: Sequence[Row]) -> str:
    """What a rule costs when nobody attacks, or what accuracy it kept under attack."""
    costly = [row for row in scored if row.value("cost") is not None]
    if len({row.value("cost") for row in costly}) > 1:
        worst = max(costly, key=lambda row: row.value("cost") or 0.0)
        return (
            f"When nobody attacks, the most costly rule is {rule_name(worst)}: "
            f"{points(worst.scores['cost'])} of accuracy."
        )
    if len(scored) == 1:
        return _alone(scored[0])
    known = [row for row in scored if row.value("twin_accuracy") is not None]
    if not known:
        return "What the rules cost when nobody attacks is not known: no clean twin was run."
    return f"When nobody attacks, {_ends(known)}."


def _ends(known: Sequence[Row]) -> str:
    levels = [row.value("twin_accuracy") or 0.0 for row in known]
    if max(levels) == min(levels):
        return f"accuracy is {percent(levels[0], unit=True)}"
    low, high = percent(min(levels), unit=True), percent(max(levels), unit=True)
    return f"accuracy is between {low} and {high}"


def _alone(row: Row) -> str:
    """Of one rule: its accuracy beside that of the clean twin, and whom it kept out."""
    twin = row.scores.get("twin_accuracy")
    told = (
        "What the attack costs in accuracy is not known: no clean twin was run"
        if twin is None
        else f"With nobody attacking, the same rule reaches {percent(twin, unit=True)} accuracy"
    )
    caught, wrong = row.scores.get("recall"), row.scores.get("false_positive_rate")
    if caught is None or wrong is None:
        return f"{told}."
    return (
        f"{told}; it gave no weight to {percent(caught, unit=True)} of the attacking updates and "
        f"to {percent(wrong, unit=True)} of the benign."
    )
