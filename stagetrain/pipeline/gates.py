"""Gates between stages: bounds on a stage's metrics that must hold before the pipeline goes on. Pure.

judge({'recall_0.5': '>= 0.8'}, {'recall_0.5': 0.75})     # (Verdict(metric='recall_0.5', bound=..., value=0.75),)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from stagetrain.config import bounds, metric_names


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One bound and what was measured; None where there was nothing to measure on."""

    metric: str
    bound: bounds.Bound
    value: float | None

    @property
    def is_met(self) -> bool:
        """Whether the bound holds; what could not be measured keeps none."""
        return self.value is not None and self.bound.holds(self.value)

    def __str__(self) -> str:
        found = 'was not measured' if self.value is None else f'is {self.value:.4g}'
        return f'{self.metric} {found}, required {self.bound}'


def judge(require: Mapping[str, str], metrics: Mapping[str, float | None]) -> tuple[Verdict, ...]:
    """Compares what a stage must reach with what was measured."""
    return tuple(
        Verdict(metric, bounds.parse(text), metrics.get(metric_names.canonical(metric))) for metric, text in require.items()
    )


def unmet(verdicts: Iterable[Verdict]) -> str:
    """Returns the bounds that do not hold, in words; empty when all do."""
    return '; '.join(str(verdict) for verdict in verdicts if not verdict.is_met)
