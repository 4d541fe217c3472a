"""One sentence that says what a score table shows, and no more than its numbers carry."""

from collections.abc import Sequence

from fedsim.reporting.scores import Row, is_plain_mean
from fedsim.reporting.spelling import is_rule, join
from fedsim.reporting.words import percent, points

WORKS = 0.5
"""An attack works where the lower end of its success's interval is at least this."""

HELD = 0.15
"""A rule holds it where the upper end is at most this, or 5 points above the clean twin's."""

USABLE = 0.8
"""A model is usable with this share of the undefended model's accuracy."""

HARM = 0.05
"""An untargeted attack works where the accuracy drop is at least this."""


RUINED = 0.2
"""With an accuracy drop of at least this the model is of no use, whatever attack success says."""


def story(rows: Sequence[Row]) -> str:
    """The sentence below the table; empty without rows."""
    if not rows:
        return ""
    measured = [row for row in rows if row.value("attack_success_rate") is not None]
    if not measured:
        return _untargeted(rows)
    beside = _beside([row for row in rows if row not in measured])
    return _targeted(measured).removesuffix(".") + beside + "."


def _targeted(measured: Sequence[Row]) -> str:
    if len(measured) == 1:
        return _single(measured[0])
    if len({_setting(row) for row in measured}) > 1:
        return _over_settings(measured)
    return _rules(measured)


def _beside(others: Sequence[Row]) -> str:
    """What rows without an attack success lose; empty where there is none, or no twin."""
    harmed = [row for row in others if row.value("accuracy_drop") is not None]
    if not harmed:
        return ""
    worst = max(harmed, key=_drop)
    lost = points(worst.scores["accuracy_drop"])
    return f"; where no attack success applies, {name(worst)} loses the most accuracy: {lost}"


def _rules(rows: Sequence[Row]) -> str:
    """Several rules in one setting."""
    plain = [row for row in rows if is_plain_mean(row.labels)]
    base = plain[0] if plain else max(rows, key=_success)
    reached = percent(base.scores["attack_success_rate"], unit=True)
    if _lower(base) >= WORKS or (plain and _lower(base) > _allowed(base)):
        others = [row for row in rows if row is not base]
        works = "works" if _lower(base) >= WORKS else "works in part"
        return (
            f"The attack {works} against {name(base)} ({reached} success); {_held(others, base)}."
        )
    if plain:
        return (
            f"Against {name(base)} the attack reaches only {reached} success, "
            "so these numbers do not show what the other rules are worth."
        )
    return (
        f"Attack success is highest under {name(base)} ({reached}); with no plain mean among "
        "the rows it is open whether the attack works at all."
    )


def _held(others: Sequence[Row], base: Row) -> str:
    holding = [row for row in others if _holds(row)]
    usable = [row for row in holding if _usable(row, base)]
    if not holding:
        best = min(others, key=_success)
        lowest = percent(best.scores["attack_success_rate"], unit=True)
        if len(others) == 1:
            return f"{name(best)} does not hold it ({lowest})"
        return f"no other rule holds it (lowest: {name(best)}, {lowest})"
    best = max(usable or holding, key=lambda row: row.value("accuracy") or 0.0)
    success = percent(best.scores["attack_success_rate"], unit=True)
    if not usable:
        accuracy = percent(best.scores.get("accuracy"), unit=True)
        return f"{name(best)} holds it at {success}, but at {accuracy} accuracy"
    sentence = f"{name(best)} holds it at {success} and {_price(best)}"
    if len(others) > 1:
        sentence += f" ({len(usable)} of {len(others)} other rules hold it)"
    return sentence


def _price(row: Row) -> str:
    cost = row.scores.get("cost")
    if cost is None:
        return f"keeps {percent(row.scores.get('accuracy'), unit=True)} accuracy"
    if cost.half is not None and abs(cost.mean) <= cost.half:
        return f"its cost in clean accuracy is within the seeds' spread ({points(cost)})"
    return f"costs {points(cost)} of clean accuracy" if cost.mean > 0 else "costs no clean accuracy"


def _single(row: Row) -> str:
    where = f"Under {name(row)} attack" if row.labels else "Attack"
    twin = row.scores.get("twin_success")
    beside = "" if twin is None else f" ({percent(twin, unit=True)} on the clean twin)"
    success = percent(row.scores["attack_success_rate"], unit=True)
    accuracy = percent(row.scores.get("accuracy"), unit=True)
    drop = row.scores.get("accuracy_drop")
    told = f"{where} success is {success}{beside} at {accuracy} accuracy."
    if drop is None or drop.mean < RUINED:
        return told
    return f"{told} The attack has ruined the model: {points(drop)} of accuracy are gone."


def _over_settings(rows: Sequence[Row]) -> str:
    """Rules over several settings: what each rule lets through at worst."""
    worst: dict[str, Row] = {}
    for row in rows:
        rule = rule_name(row)
        if rule not in worst or _success(row) > _success(worst[rule]):
            worst[rule] = row
    if len(worst) == 1:
        low, high = min(rows, key=_success), max(rows, key=_success)
        return (
            f"Attack success ranges from {_told(low)} ({join(low.labels)}) "
            f"to {_told(high)} ({join(high.labels)})."
        )
    low, high = min(worst.values(), key=_success), max(worst.values(), key=_success)
    count = len({_setting(row) for row in rows})
    return (
        f"Over {count} settings the worst case is {_told(low)} attack success for {rule_name(low)} "
        f"and {_told(high)} for {rule_name(high)}."
    )


def _untargeted(rows: Sequence[Row]) -> str:
    harmed = [row for row in rows if row.value("accuracy_drop") is not None]
    if not harmed:
        return "No attack success applies and no clean twin was run: only accuracy is shown."
    plain = [row for row in harmed if is_plain_mean(row.labels)]
    base = plain[0] if plain else max(harmed, key=_drop)
    drop = base.scores["accuracy_drop"]
    sentence = f"The attack costs {name(base)} {points(drop)} of accuracy"
    if drop is None or drop.mean < HARM:
        return f"{sentence}: it shows little harm."
    if drop.low < HARM:
        return f"{sentence}: its seeds differ too much to tell whether that is harm."
    best = min(harmed, key=_drop)
    if best is base:
        return sentence + "."
    return sentence + f"; {name(best)} loses the least, {points(best.scores['accuracy_drop'])}."


def name(row: Row) -> str:
    """What a sentence calls the row."""
    return join(row.labels) or "this rule"


def rule_name(row: Row) -> str:
    """What a sentence calls the rule of the row, whatever it was up against."""
    return join({key: text for key, text in row.labels.items() if is_rule(key)}) or "this rule"


def _setting(row: Row) -> tuple[tuple[str, str], ...]:
    return tuple(item for item in row.labels.items() if not is_rule(item[0]))


def _told(row: Row) -> str:
    return percent(row.scores["attack_success_rate"], unit=True)


def _success(row: Row) -> float:
    return row.value("attack_success_rate") or 0.0


def _drop(row: Row) -> float:
    return row.value("accuracy_drop") or 0.0


def _lower(row: Row) -> float:
    score = row.scores["attack_success_rate"]
    return score.low if score else 0.0


def _upper(row: Row) -> float:
    score = row.scores["attack_success_rate"]
    return score.high if score else 1.0


def _allowed(row: Row) -> float:
    """The success that still counts as held: little, or no more than without an attack."""
    return max(HELD, (row.value("twin_success") or 0.0) + 0.05)


def _holds(row: Row) -> bool:
    return _upper(row) <= _allowed(row)


def _usable(row: Row, base: Row) -> bool:
    accuracy, undefended = row.value("accuracy"), base.value("accuracy")
    learned = "never_learned" not in row.flags
    return learned and (accuracy or 0.0) >= USABLE * (undefended or 0.0)
