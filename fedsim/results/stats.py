"""Mean and 95 % confidence interval over seeds."""

import math
from collections.abc import Iterable
from statistics import fmean, stdev
from typing import NamedTuple


class Interval(NamedTuple):
    """A mean over `n` values; the true mean lies within ± `half` of it at the confidence.

    `half` is None for a single value, which says nothing about its spread.
    """

    mean: float
    half: float | None
    n: int

    @property
    def low(self) -> float:
        """The lower end; the mean itself where there is no interval."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """The upper end; the mean itself where there is no interval."""
        return self.mean + (self.half or 0.0)


def mean_interval(values: Iterable[float | None], confidence: float = 0.95) -> Interval | None:
    """The mean of `values` with its t-interval; None are left out, and without values None.

    mean ± t_{n−1} · s / √n, s the sample standard deviation. The values are taken to be
    independent and about normal, which few seeds cannot show.

    >>> mean_interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, half=2.484137..., n=3)
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    n = len(known)
    if n == 1:
        return Interval(known[0], None, 1)
    return Interval(fmean(known), t_quantile(n - 1, confidence) * stdev(known) / math.sqrt(n), n)


def t_quantile(freedom: int, confidence: float = 0.95) -> float:
    """The t with P(|T| ≤ t) = `confidence` for Student's T with `freedom` degrees of freedom.

    >>> round(t_quantile(4), 4)
    2.7764
    """
    if freedom < 1 or not 0 < confidence < 1:
        got = f"got freedom={freedom}, confidence={confidence}"
        raise ValueError(f"t_quantile needs freedom ≥ 1 and a confidence in (0, 1); {got}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < confidence else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _inside(angle: float, freedom: int) -> float:
    """P(|T| ≤ √freedom · tan(angle)), a finite series for a whole number of degrees."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, 0.0) if odd else (1.0, 0.0)
    for k in range(odd + 1, freedom, 2):
        total += term
        term *= cosine**2 * k / (k + 1)
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
