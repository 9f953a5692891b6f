"""What of a stage's schedules lies behind its last step, and so would never happen. Pure.

beyond_the_end(stage, 100)      # [(('train', 'warmup', 'linear', 'warmup_steps'), 'found 500, but the stage has 100 steps: ...')]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from stagetrain.config.model_rules import Problem
from stagetrain.config.schema import Stage

BOUNDARIES = ('train', 'learning_rate', 'stepwise', 'boundaries')


def beyond_the_end(stage: Stage, num_steps: int) -> Iterator[Problem]:
    """Yields (path below the stage, text) of each; a stage whose `train` has no type of schedule yet has none of it."""
    length = f'but the stage has {num_steps} steps'
    yield from _warmup(stage, num_steps, length)
    yield from _boundaries(stage, num_steps, length)
    for term, ramp in stage.loss_ramps.items():
        if ramp.steps > num_steps:
            yield ('loss_ramps', term, 'steps'), f'found {ramp.steps}, {length}: the term would never have its whole weight'
    for key in ('early_stopping', 'reduce_on_plateau'):
        interval = stage.train.validation_interval
        if interval is not None and interval >= num_steps and getattr(stage.train, key) is not None:
            text = f'found {interval}, {length}: {key} would never judge before the end'
            yield ('train', 'validation_interval'), f'{text}. Expected fewer than {num_steps}; or remove {key}'


def _warmup(stage: Stage, num_steps: int, length: str) -> Iterator[Problem]:
    kind = getattr(stage.train.warmup, 'type', None)
    steps = getattr(getattr(stage.train.warmup, kind), 'warmup_steps', None) if kind else None
    if steps is not None and steps > num_steps:
        text = f'found {steps}, {length}: the learning rate would never reach that of its schedule'
        yield ('train', 'warmup', str(kind), 'warmup_steps'), f'{text}. Expected at most {num_steps}; or `warmup: null` for none'


def _boundaries(stage: Stage, num_steps: int, length: str) -> Iterator[Problem]:
    """A rate counts from the step behind its boundary on, and steps count from 0: `PiecewiseConstantDecay` of Keras."""
    schedule: Any = stage.train.learning_rate.stepwise
    if stage.train.learning_rate.type != 'stepwise' or not schedule.boundaries or not schedule.values:
        return
    late = [boundary for boundary in schedule.boundaries if boundary + (schedule.offset or 0) >= num_steps - 1]
    if late:
        unused = ', '.join(f'{value:g}' for value in schedule.values[-len(late) :])
        yield (
            BOUNDARIES,
            f'found {schedule.boundaries}, {length}: the rate {unused} would never be used. Expected below {num_steps - 1}',
        )
