"""Variants of equal length: each is made as long as the pipeline itself, by wall clock, steps or images. Pure.

    made = equalise(pipeline, 'steps', num_train=292)
    made.factors                            # {'end_to_end': Fraction(2, 1)}

The rule: the pipeline's own stages stay as they are. Of every variant all its own stages are multiplied by one factor, their
schedules with them (`config/lengths.py`), so that the variant, with the stages of others that it starts from, comes to what the
pipeline comes to. What does not grow with the steps is left out of the factor: evaluation, proposals, stored features, tracing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction

from stagetrain.config import schema
from stagetrain.config.stages import StageEntry, trained_stages
from stagetrain.errors import ConfigError
from stagetrain.pipeline.graph import build_graph, num_steps
from stagetrain.pipeline.speed import Speed
from stagetrain.pipeline.time_budgets import besides_steps

TIME, STEPS, IMAGES = 'time', 'steps', 'images'
BY = (TIME, STEPS, IMAGES)
EQUAL = 'equal'
"""What a run keeps equal lengths under; see `RunDirectory.lengths`."""
_UNITS = {TIME: 's', STEPS: 'steps', IMAGES: 'images'}


@dataclasses.dataclass(frozen=True)
class Equal:
    """What makes variants as long as the pipeline."""

    by: str
    """One of `BY`."""
    target: float
    """What the pipeline itself comes to, in seconds, steps or images."""
    factors: Mapping[str, Fraction]
    """Variant -> what the length of each of its own stages is multiplied by."""

    def notes(self, name: str) -> tuple[str, ...]:
        """Returns the rule and what it comes to, in words; `name` is the pipeline's."""
        measured = ', as measured on this machine' if self.by == TIME else ''
        head = f'--equal {self.by}: {name} comes to {self.target:,.0f} {_UNITS[self.by]}{measured}'
        each = [f'train.steps and schedules of {variant} times {float(factor):.4g}' for variant, factor in self.factors.items()]
        return (f'{head}; {"; ".join(each) or "there is no other variant"}',)


def equalise(pipeline: schema.PipelineBase, by: str, num_train: int, speeds: Mapping[str, Speed] | None = None) -> Equal:
    """Returns what makes every variant that has stages of its own as long as the pipeline.

    Args:
      pipeline: a checked pipeline.
      by: one of `BY`.
      num_train: training images.
      speeds: for `TIME`: stage id -> what was measured, for all stages.

    Raises:
      ConfigError: a variant is too long even with one step in each of its stages.
    """
    graph, entries = build_graph(pipeline), {entry.id: entry for entry in trained_stages(pipeline)}

    def fixed(stages: Sequence[StageEntry]) -> float:
        return besides_steps(stages, speeds, num_train) if speeds is not None else 0.0

    def growing(stages: Sequence[StageEntry]) -> float:
        return sum(_of_steps(entry, by, num_train, speeds) for entry in stages)

    own = [entry for entry in entries.values() if entry.variant is None]
    target = fixed(own) + growing(own)
    factors = {}
    for variant in dict.fromkeys(entry.variant for entry in entries.values() if entry.variant is not None):
        stages = [entry for entry in entries.values() if entry.variant == variant]
        needed = {ancestor for entry in stages for ancestor in graph.ancestors(entry.id)} - {entry.id for entry in stages}
        others = [entry for entry in entries.values() if entry.id in needed]
        left = target - fixed([*others, *stages]) - growing(others)
        if left <= 0:
            raise ConfigError(
                f'--equal {by}: compare.{variant}: the stages that it starts from, and what it takes beside its steps, come to '
                f'{target - left:,.0f} {_UNITS[by]}, and the whole pipeline to {target:,.0f}; no steps are left for it. Lengthen '
                'the pipeline, or compare without --equal'
            )
        factors[variant] = Fraction(left / growing(stages)).limit_denominator(1_000_000)
    return Equal(by, target, factors)


def _of_steps(entry: StageEntry, by: str, num_train: int, speeds: Mapping[str, Speed] | None) -> float:
    """Returns what the steps of a stage come to."""
    steps = num_steps(entry.stage.train, num_train)
    if by == TIME:
        assert speeds is not None
        return steps * speeds[entry.id].step
    return float(steps * (entry.stage.train.batch_size if by == IMAGES else 1))
