"""How well the aggregation weights told the attackers from the others."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from fedsim.results.files import Record


def detection(clients: Sequence[Record]) -> dict[str, float | None] | None:
    """Precision, recall, false positive rate of "weight 0 = accused", and AUC of the weights.

    Positives are the acting rows, negatives the rows of clients that do not belong to the
    adversary, over the rounds in which somebody acts; attackers at rest are neither. Rows without
    a weight (failed, or in a round whose precondition broke) are left out. A ratio over nothing
    is None: recall without a positive row, precision where nobody is accused. None altogether
    where nobody acted or the rule gives no weights.
    """
    rounds = acting_rounds(clients)
    rows = [
        row
        for row in clients
        if row["round"] in rounds and row["failed"] is None and row["weight"] is not None
    ]
    if not rows:
        return None
    positives = [row["weight"] for row in rows if row["acting"]]
    negatives = [row["weight"] for row in rows if not row["malicious"]]
    caught, accused = positives.count(0), positives.count(0) + negatives.count(0)
    return {
        "precision": _ratio(caught, accused),
        "recall": _ratio(caught, len(positives)),
        "false_positive_rate": _ratio(accused - caught, len(negatives)),
        "auc": auc(positives, negatives),
    }


def acting_rounds(clients: Sequence[Record]) -> set[int]:
    """The rounds in which somebody attacked."""
    return {row["round"] for row in clients if row["acting"]}


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float | None:
    """The probability that a positive's weight is lower than a negative's, ties counting half.

    Weights of all rounds are pooled. None if either side is empty.

    >>> auc([0.0, 0.2], [0.2, 0.4])
    0.875
    """
    others = sorted(negatives)
    pairs = len(positives) * len(others)
    below = sum(
        2 * len(others) - bisect_left(others, w) - bisect_right(others, w) for w in positives
    )
    return _ratio(below, 2 * pairs)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
