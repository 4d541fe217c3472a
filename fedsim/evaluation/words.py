"""A card in plain words, and its numbers as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsim.reporting.words import NULL, percent
from fedsim.results.stats import Interval

Record = Mapping[str, Any]

HEADER = (
    *("attack", "malicious", "damage %", "accuracy %", "drop %", "ASR %", "twin's ASR %"),
    *("recall %", "false pos. %", "mean's damage %"),
)
COMPARED = ("rule", "worst case", "damage %", "clean cost %", "sum %", "s / round")


def story(card: Record) -> list[str]:
    """What the card says, in a sentence each: the worst case, the cost, the place."""
    label, worst = card["rule"]["label"], card["worst_case"]
    share = f"{worst['malicious']:.0%} of the clients malicious".replace("%", " %")
    harm = interval(worst["damage"])
    first = (
        f"Of the attacks of suite {card['suite']['name']}, {attack_text(worst)} hurts {label} most"
    )
    return [
        f"{first}: damage {percent(harm)} points with {share} ({_how(card, worst)}).",
        _cost(card),
        _place(card),
    ]


def _how(card: Record, worst: Record) -> str:
    """Through what the worst case does its damage."""
    row = next(row for row in card["attacks"] if _same(row, worst))
    accuracy, asr = interval(row["accuracy"]), interval(row["attack_success_rate"])
    if asr is None:
        return f"accuracy {percent(accuracy)} %, {percent(interval(row['accuracy_drop']))} lost"
    twin = interval(row["twin_success"])
    return (
        f"attack success {percent(asr)} % against {percent(twin)} %, accuracy {percent(accuracy)} %"
    )


def _cost(card: Record) -> str:
    cost, accuracy = interval(card["clean_cost"]), interval(card["clean_accuracy"])
    told = f"Without an attack the model reaches {percent(accuracy)} %"
    if cost is None:
        return f"{told}."
    lost = percent(Interval(abs(cost.mean), cost.half, cost.n))
    return (
        f"{told}: {lost} points {'less' if cost.mean >= 0 else 'more'} than under the plain mean."
    )


def _place(card: Record) -> str:
    """Where the rule stands among the references."""
    if card["never_learned"]:
        return "Its model did not learn even without an attack, so it stands last."
    better = [r for r in card["references"] if r["ranking_key"] < card["ranking_key"]]
    ahead = [r["label"] for r in better if not r["never_learned"]]
    count = len(card["references"])
    if not ahead:
        return f"None of the {count} reference rules does better on worst case plus clean cost."
    verb = "does" if len(ahead) == 1 else "do"
    told = f"{len(ahead)} of {count} reference rules {verb} better on worst case plus clean cost"
    return f"{told}: {', '.join(ahead)}."


def attack_grid(card: Record) -> list[list[str]]:
    """The numbers under the words: a row for each attack."""
    return [
        [
            attack_text(row),
            f"{row['malicious']:.0%}".replace("%", " %"),
            percent(interval(row["damage"])),
            percent(interval(row["accuracy"])),
            percent(interval(row["accuracy_drop"])),
            percent(interval(row["attack_success_rate"])),
            percent(interval(row["twin_success"])),
            percent(interval((row["detection"] or {}).get("recall"))),
            percent(interval((row["detection"] or {}).get("false_positive_rate"))),
            percent(interval(row["mean_damage"]))
            + (" (unharmed)" if row["baseline_unharmed"] else ""),
        ]
        for row in card["attacks"]
    ]


def comparison(card: Record) -> list[list[str]]:
    """The rule among the references, the best first; who never learned comes last."""
    own = {**card, "label": f"{card['rule']['label']} (this rule)"}
    entries = sorted([own, *card["references"]], key=standing)
    return [
        [
            entry["label"] + (" – never learned" if entry["never_learned"] else ""),
            attack_text(entry["worst_case"]),
            percent(interval(entry["worst_case"]["damage"])),
            percent(interval(entry["clean_cost"])),
            percent(entry["ranking_key"]),
            seconds(entry["seconds_per_round"]),
        ]
        for entry in entries
    ]


def standing(entry: Record) -> tuple[bool, float]:
    """What rules are ranked by: who never learned last, then worst case + clean cost."""
    return entry["never_learned"], entry["ranking_key"]


def attack_text(row: Record) -> str:
    """The attack, and the setting where a suite varies it."""
    return f"{row['attack']} ({row['setting']})" if row["setting"] else str(row["attack"])


def interval(score: Record | None) -> Interval | None:
    """Mean and interval as a card holds them."""
    return None if score is None else Interval(score["mean"], score["half"], score["n"])


def seconds(value: float | None) -> str:
    """Seconds in a round, short."""
    return NULL if value is None else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _same(row: Record, other: Record) -> bool:
    return all(row[key] == other[key] for key in ("attack", "malicious", "setting"))


def columns_with_numbers(
    header: Sequence[str], body: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows without the columns in which nothing applies."""
    kept = [k for k in range(len(header)) if any(row[k] != NULL for row in body)]
    return [header[k] for k in kept], [[row[k] for k in kept] for row in body]
