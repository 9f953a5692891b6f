"""Whether one variant is better than another: paired differences over seeds, with Student's t interval, in words. Pure.

    difference = paired([0.52, 0.53, 0.51], [0.50, 0.50, 0.50])
    (difference.low, difference.high)                   # (-0.005, 0.045): it holds 0
    difference.words('four_step', 'end_to_end', 'AP')   # 'four_step and end_to_end cannot be told apart in AP: ...'

Both variants are run with each seed, and the seed decides the same things in both, so differences are taken seed by seed. Their
mean has the interval `mean +- t(n - 1) * s / sqrt(n)`, which assumes that differences are about normal. It covers the spread over
seeds on these images, not over images, and is not corrected for the number of variants.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Difference:
    """How much more one variant has of a metric than another."""

    mean: float
    low: float | None
    """The interval's ends; None with one seed."""
    high: float | None
    num_seeds: int

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def words(self, name: str, other: str, metric: str) -> str:
        """Returns the difference as a sentence."""
        if self.low is None:
            more = f'{name} has {abs(self.mean):.3f} {"more" if self.mean >= 0 else "less"} {metric} than {other}'
            return f'{more} with one seed, which says nothing of the spread over seeds; --seeds=3 does'
        interval = f'{CONFIDENCE:.0%} interval {self.low:+.3f} to {self.high:+.3f}, paired t over {self.num_seeds} seeds'
        if not self.is_certain:
            return f'{name} and {other} cannot be told apart in {metric}: difference {self.mean:+.3f} ({interval})'
        word = 'better' if self.mean > 0 else 'worse'
        return f'{name} is {word} than {other} in {metric}: difference {self.mean:+.3f} ({interval})'


def paired(values: Sequence[float], others: Sequence[float]) -> Difference:
    """Returns the mean of `values` less `others`, pair by pair, with its interval."""
    differences = [value - other for value, other in zip(values, others, strict=True)]
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return Difference(mean, None, None, count)
    half = t_quantile((1 + CONFIDENCE) / 2, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return Difference(mean, mean - half, mean + half, count)


def t_quantile(probability: float, degrees: int) -> float:
    """Returns the value that Student's t is below with a probability of at least 0.5, by bisection of its distribution."""
    low, high = 0.0, 1.0
    while _t_distribution(high, degrees) < probability:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_distribution(middle, degrees) < probability else (low, middle)
    return high


def _t_distribution(t: float, degrees: int) -> float:
    """Returns P(T <= t) for t >= 0: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = degrees % 2
    term = cosine if odd else 1.0
    total = term if degrees > 1 else 0.0
    for number in range(2 if odd else 1, degrees - 1, 2):
        term *= number / (number + 1) * cosine**2
        total += term
    between = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return 0.5 + between / 2
