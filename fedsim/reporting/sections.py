"""What stands on the page of a report, in its order: figures with captions, tables, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from fedsim.reporting.crossing import cross
from fedsim.reporting.figures import OVERLAID, TWINS, detection_figure, figure
from fedsim.reporting.heatmap import heatmap
from fedsim.reporting.labels import Group, RunLike
from fedsim.reporting.measure import success_words
from fedsim.reporting.norms import norm_figure, pooled
from fedsim.reporting.parts import Ids, Section, pictures
from fedsim.reporting.pictures import caption, gallery_figure, heading, read_examples
from fedsim.reporting.scores import number
from fedsim.reporting.series import windows
from fedsim.reporting.standing import read_updates, updates_figure
from fedsim.reporting.tabled import classes, costs, durability, failures
from fedsim.reporting.weights import has_weights, is_even, share_figure, weight_figure
from fedsim.reporting.words import listed, percent, spans

MAPS = 4
"""So many rules get a picture of who was given weight in which round."""

PANELS = 6
"""So many rules get a panel of norms."""

STANDINGS = 9
"""So many rules get a panel of where updates stood."""

GALLERIES = 6
"""So many attacks that differ are shown as pictures."""


def sections(runs: Sequence[RunLike], groups: Sequence[Group]) -> list[Section]:
    """The sections of the page that have something to say."""
    ids = count(1)
    made = [
        _crossing(runs, ids),
        _learning(runs, groups, ids),
        durability(groups),
        _weights(groups, ids),
        _standing(groups, ids),
        _detection(runs, groups, ids),
        _norms(groups, ids),
        *_galleries(groups, ids),
        classes(groups),
        costs(groups),
        failures(groups),
    ]
    return [one for one in made if one.pictures or one.grid or one.sentences]


def _learning(runs: Sequence[RunLike], groups: Sequence[Group], ids: Ids) -> Section:
    seeds = max(len(one.runs) for one in groups)
    measured = any(number(r["attack_success_rate"]) is not None for run in runs for r in run.rounds)
    sentences = [
        f"Accuracy on the clean test set{' and attack success rate' if measured else ''} after "
        "each evaluated round, round 0 being the initial model.",
        success_words(runs),
        f"Lines are means over {seeds} seeds, bands the 95 % interval of the mean."
        if seeds > 1
        else "One seed: the spread over seeds is not known.",
    ]
    if any(windows(run) for run in runs):
        sentences.append("Shaded: rounds in which the schedule lets the adversary attack.")
    if any(run.summary.get("clean_twin") for run in runs):
        if len(groups) <= TWINS or len(groups) > OVERLAID:
            sentences.append("Dotted: the clean twin, the same run with nobody attacking.")
        else:
            sentences.append("The clean twins stand in the table above.")
    if len(runs) == 1:
        sentences.insert(1, _peak(runs[0]))
    return Section(
        "Over the rounds", pictures(ids, figure(runs), " ".join(filter(None, sentences)))
    )


def _peak(run: RunLike) -> str:
    rates = {r["round"]: number(r["attack_success_rate"]) for r in run.rounds}
    known = {round_: rate for round_, rate in rates.items() if rate is not None}
    if not known:
        return ""
    best = max(known, key=lambda round_: known[round_])
    return (
        f"Attack success starts at {percent(known[min(known)], unit=True)}, is highest in round "
        f"{best} ({percent(known[best], unit=True)}) and ends at "
        f"{percent(known[max(known)], unit=True)}."
    )


def _weights(groups: Sequence[Group], ids: Ids) -> Section:
    given = [one for one in groups if any(has_weights(run) for run in one.runs)]
    even = [one for one in given if all(is_even(run) for run in one.runs)]
    sentences = [
        _told([one for one in groups if one not in given], "no weights to clients")
        + "the result is not a weighted mean of the updates, so who was let in or kept out cannot "
        "be told, and detection does not apply."
        if len(given) < len(groups)
        else "",
        _told(even, "every update of a round the same weight")
        + "nobody was preferred or kept out by weight."
        if even
        else "",
    ]
    shown = pictures(
        ids,
        share_figure(given) if len(given) > max(1, len(even)) else None,
        "How much of the weight acting clients were given, and how much of the rows they sent. "
        "A rule that cannot tell them apart gives them their share of the rows (bar); one that "
        "does gives them less (triangle left of the bar). Over the rounds in which somebody acted.",
    )
    chosen = [one for one in given if one not in even]
    for one in chosen[:MAPS]:
        run = one.runs[0]
        shown += pictures(
            ids,
            weight_figure(run),
            f"Weight given by {_who(one)} (seed {run.summary['seed']}). The darker, the more "
            "against an even share of the round; hollow is weight zero, white is not drawn. "
            "Dormant: malicious, but not attacking in that round.",
        )
    if len(chosen) > MAPS:
        sentences.append(f"By round: the first {MAPS} of the {len(chosen)} rules that choose.")
    return Section("Who was given weight", shown, sentences=list(filter(None, sentences)))


def _told(groups: Sequence[Group], what: str) -> str:
    return f"{listed([_who(one) for one in groups])} gave {what}: "


def _who(one: Group) -> str:
    """What a sentence calls the group: its labels, or, where there is one group, its rule."""
    rule = one.runs[0].scenario.get("server", {}).get("aggregator", {}).get("name")
    return one.text if one.labels or not rule else str(rule)


def _crossing(runs: Sequence[RunLike], ids: Ids) -> Section:
    """The heat map of a sweep."""
    found = cross(runs)
    if found is None:
        return Section("")
    caption = "What each attack did to each rule. The darker, the worse."
    return Section("Rules by attacks", pictures(ids, heatmap(found), caption))


def _standing(groups: Sequence[Group], ids: Ids) -> Section:
    """Where the updates of one round stood; the first seed of each group."""
    found = {_who(one): read_updates(one.runs[0].path) for one in groups}
    known = {name: one for name, one in found.items() if one is not None}
    shown = dict(list(known.items())[:STANDINGS])
    acted = any(row["acting"] for one in shown.values() for row in one["clients"])
    rounds = sorted({one["round"] for one in shown.values()})
    which = f"round{'s' if len(rounds) > 1 else ''} {spans(rounds)}"
    caption = (
        f"The updates of {which}, the last {'with an attack' if acted else 'one'}, as sent, "
        "on the two axes along which they differ most. In brackets: how much of their variance "
        "an axis shows; two updates that are close here may differ along others. "
        "The larger a mark, the more weight its update was given."
    )
    if any(len(one.runs) > 1 for one in groups):
        caption += " First seed of each."
    if len(known) > len(shown):
        caption += f" The first {len(shown)} of {len(known)}."
    return Section("Where the updates stood", pictures(ids, updates_figure(shown), caption))


def _detection(runs: Sequence[RunLike], groups: Sequence[Group], ids: Ids) -> Section:
    heading = "Detection over the rounds"
    found = [run.summary["detection"] for run in runs if run.summary.get("detection")]
    if not found or len(groups) > OVERLAID:
        return Section("")
    if not any(one["recall"] or one["false_positive_rate"] for one in found):
        told = "No update was ever given weight zero: nobody was caught, and nobody dropped."
        return Section(heading, sentences=[told])
    return Section(
        heading,
        pictures(
            ids,
            detection_figure(runs),
            "Share of attacking updates given weight zero, and of benign ones, counted from the "
            "first attack up to each round. Attackers at rest count as neither. The last value is "
            "the recall and the false positive rate of the table.",
        ),
    )


def _norms(groups: Sequence[Group], ids: Ids) -> Section:
    shown = groups[:PANELS]
    caption = (
        "L2 norms of the updates as sent, before the server clips or drops any: median, and from "
        "the smallest to the largest."
    )
    if any(len(one.runs) > 1 for one in shown):
        caption += " First seed of each."
    drawing = norm_figure(shown)
    if drawing and pooled(shown) > 1:
        caption += f" {pooled(shown)} neighbouring rounds are pooled."
    if len(groups) > len(shown):
        caption += f" The first {len(shown)} of {len(groups)} rules."
    return Section("How large the updates were", pictures(ids, drawing, caption))


def _galleries(groups: Sequence[Group], ids: Ids) -> list[Section]:
    """The pictures of each attack once: a rule or a seed does not change what an attack is."""
    shown: dict[str, tuple[Group, dict[str, Any]]] = {}
    for one in groups:
        poison = repr((one.runs[0].scenario.get("adversary") or {}).get("poison"))
        if poison not in shown and (examples := read_examples(one.runs[0].path)):
            shown[poison] = one, examples
    found: dict[str, Section] = {}
    for one, examples in list(shown.values())[:GALLERIES]:
        section = found.setdefault(heading(examples), Section(heading(examples)))
        who = f"{one.text}: " if len(shown) > 1 else ""
        section.pictures.extend(pictures(ids, gallery_figure(examples), who + caption(examples)))
    if len(shown) > GALLERIES:
        section.sentences.append(f"The first {GALLERIES} of {len(shown)} attacks.")
    return list(found.values())
