"""Bounds on numbers, as gates between stages write them.

parse('>= 0.8').holds(0.75)     # False
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re

_OPERATORS = {'>=': operator.ge, '<=': operator.le, '>': operator.gt, '<': operator.lt}
_BOUND = re.compile(r'(>=|<=|>|<) *(\S+)')


@dataclasses.dataclass(frozen=True)
class Bound:
    """A comparison with a number: `>= 0.8`."""

    operator: str
    number: float

    def holds(self, value: float) -> bool:
        """Whether `value` is inside the bound."""
        return bool(_OPERATORS[self.operator](value, self.number))

    def __str__(self) -> str:
        return f'{self.operator} {self.number:g}'


def parse(text: str) -> Bound:
    """Reads a bound.

    Raises:
      ValueError: It is no comparison with a finite number.
    """
    match = _BOUND.fullmatch(text.strip())
    try:
        number = float(match[2]) if match else math.nan
    except ValueError:
        number = math.nan
    if match is None or not math.isfinite(number):
        raise ValueError(f"found '{text}'; expected >=, <=, > or < and a number, in quotes: '>= 0.8'")
    return Bound(match[1], number)
