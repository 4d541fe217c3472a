"""Numbers as people read them: shares in percent with one decimal, – for null."""

from collections.abc import Mapping, Sequence

from fedsim.results.stats import Interval

NULL = "–"

FLAG_WORDS = {
    "never_learned": "never learned",
    "asr_without_attack": "ASR without attack",
    "precondition_broken": "precondition broken",
    "no_malicious_drawn": "no attacker drawn",
    "replies_dropped": "replies dropped",
    "baseline_unharmed": "baseline unharmed",
    "assumed_more_than_true": "assumed > true",
}


def percent(score: Interval | float | None, unit: bool = False) -> str:
    """A share in percent with its interval.

    >>> percent(Interval(0.9712, 0.013, 3)), percent(None), percent(0.5, unit=True)
    ('97.1 ± 1.3', '–', '50.0 %')
    """
    if score is None:
        return NULL
    exact = score if isinstance(score, Interval) else Interval(score, None, 1)
    text = _signed(100 * exact.mean)
    if exact.half is not None:
        text += f" ± {100 * exact.half:.1f}"
    return f"{text} %" if unit else text


def points(score: Interval | None) -> str:
    """A difference of two shares in percentage points, in words."""
    return f"{percent(score)} points" if score is not None else NULL


def _signed(value: float) -> str:
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def flag_words(flags: Mapping[str, int], seeds: int) -> str:
    """The flags of a row as short words; how many seeds raised one, where not all did."""
    return ", ".join(
        FLAG_WORDS.get(flag, flag.replace("_", " ")) + (f" ({n}/{seeds})" if n < seeds else "")
        for flag, n in flags.items()
    )


def duration(seconds: float) -> str:
    """A time span in the two largest units that matter.

    >>> duration(3725), duration(92), duration(4.2)
    ('1 h 2 min', '1 min 32 s', '4.2 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def spans(rounds: Sequence[int]) -> str:
    """Whole numbers with runs drawn together.

    >>> spans([1, 2, 3, 7])
    '1–3, 7'
    """
    parts: list[list[int]] = []
    for value in sorted(set(rounds)):
        if parts and value == parts[-1][-1] + 1:
            parts[-1][1:] = [value]
        else:
            parts.append([value])
    return ", ".join("–".join(map(str, part)) for part in parts)


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))
