"""What differs between two sets of weights, by variable and by module. Without TensorFlow.

changes = compare({'a/kernel': before}, {'a/kernel': after})
changes[0].verdict, changes[0].relative            # 'changed', 0.02: the change's norm is 2 % of the norm before
summaries(changes)['a'].num_changed                # 1
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

EQUAL = 'equal'
CHANGED = 'changed'
RESHAPED = 'other shape'
ONLY_IN_A = 'only in A'
ONLY_IN_B = 'only in B'


@dataclasses.dataclass(frozen=True)
class Difference:
    """One variable in A and B."""

    name: str
    verdict: str
    """`equal` (to the bit), `changed`, `other shape` (or type of numbers), `only in A`, `only in B`."""
    shape_a: tuple[int, ...] | None
    shape_b: tuple[int, ...] | None
    largest: float = 0.0
    """Largest absolute difference; NaN when a value is not finite."""
    norm_a: float = 0.0
    """Euclidean norm of A."""
    norm_change: float = 0.0
    """Euclidean norm of B - A."""

    @property
    def relative(self) -> float:
        """The change's norm over the norm before; infinite where everything was zero before."""
        return _ratio(self.norm_change, self.norm_a)


@dataclasses.dataclass(frozen=True)
class Summary:
    """The variables of one module."""

    num_equal: int
    num_changed: int
    num_other: int
    """In one of the two only, or of another shape."""
    largest: float
    relative: float
    """Norm of the change of all its variables together over their norm before."""


def compare(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> list[Difference]:
    """Returns one `Difference` for each name in `a` or `b`, by name."""
    return [_change(name, a.get(name), b.get(name)) for name in sorted({*a, *b})]


def summaries(changes: Iterable[Difference]) -> dict[str, Summary]:
    """Returns module -> what became of its variables."""
    grouped: dict[str, list[Difference]] = {}
    for change in changes:
        grouped.setdefault(module_of(change.name), []).append(change)
    return {module: _summary(members) for module, members in grouped.items()}


def module_of(name: str) -> str:
    """Returns the module, or layer, that a name begins with; the Model Garden's leading `model` is passed over."""
    parts = name.split('/')
    return parts[1] if parts[0] == 'model' and len(parts) > 2 else parts[0]


def _change(name: str, a: np.ndarray | None, b: np.ndarray | None) -> Difference:
    if a is None or b is None:
        return Difference(name, ONLY_IN_B if a is None else ONLY_IN_A, _shape(a), _shape(b))
    if a.shape != b.shape or a.dtype != b.dtype:
        return Difference(name, RESHAPED, a.shape, b.shape)
    if a.tobytes() == b.tobytes():
        return Difference(name, EQUAL, a.shape, b.shape, norm_a=_norm(a.astype(np.float64)))
    before, after = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid='ignore'):  # Infinity less infinity is NaN, which is what is shown.
        moved = after - before
    return Difference(name, CHANGED, a.shape, b.shape, float(np.max(np.abs(moved))), _norm(before), _norm(moved))


def _summary(changes: list[Difference]) -> Summary:
    verdicts = [change.verdict for change in changes]
    num_equal, num_changed = verdicts.count(EQUAL), verdicts.count(CHANGED)
    return Summary(
        num_equal,
        num_changed,
        len(changes) - num_equal - num_changed,
        float(np.max([change.largest for change in changes])),
        _ratio(math.hypot(*(change.norm_change for change in changes)), math.hypot(*(change.norm_a for change in changes))),
    )


def _shape(value: np.ndarray | None) -> tuple[int, ...] | None:
    return None if value is None else value.shape


def _norm(value: np.ndarray) -> float:
    return float(np.linalg.norm(value.ravel()))


def _ratio(change: float, before: float) -> float:
    if not change:
        return 0.0
    return change / before if before else math.inf
