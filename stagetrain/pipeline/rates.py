"""The learning rate of each step as a stage's fingerprint describes it, without TensorFlow: to compare two schedules by number.

    learning_rates({'train.learning_rate.type': 'constant', 'train.learning_rate.constant.learning_rate': 0.1}, np.arange(3))

The formulas are those that the documentation of `tf_keras.optimizers.schedules` and of the Model Garden's `lr_schedule` gives;
`tests/training/test_rates.py` compares them with the schedules themselves. What trains always is the Model Garden's own.
S steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LEARNING_RATE, WARMUP = 'train.learning_rate', 'train.warmup'

Options = Mapping[str, Any]
"""Steps float64 `[S]`, from 0 -> learning rates float64 `[S]`."""


def learning_rates(parts: Mapping[str, Any], steps: np.ndarray) -> np.ndarray | None:
    """Returns the learning rates float64 `[S]` of steps `[S]`, from 0; None for a schedule that has no formula here.

    Args:
      parts: what a stage's fingerprint is taken of.
      steps: counted from the stage's start.
    """
    kind, options = _chosen(parts, LEARNING_RATE)
    formula = _FORMULAS.get(str(kind))
    if formula is None:
        return None
    kind, warmup = _chosen(parts, WARMUP)
    return _warmed_up(kind, warmup, lambda at: formula(options, at - (options.get('offset') or 0)), steps.astype(np.float64))


def _chosen(parts: Mapping[str, Any], name: str) -> tuple[str | None, Options]:
    """Returns the type of a choice, and its options."""
    kind = parts.get(f'{name}.type')
    prefix = f'{name}.{kind}.'
    return kind, {part.removeprefix(prefix): value for part, value in parts.items() if part.startswith(prefix)}


def _warmed_up(kind: str | None, options: Options, schedule: Callable[[np.ndarray], np.ndarray], steps: np.ndarray) -> np.ndarray:
    """A warm-up ends at the rate that the schedule has at that step."""
    length = options.get('warmup_steps') or 0
    rates = schedule(steps)
    if kind is None or length <= 0:
        return rates
    end = schedule(np.array([float(length)]))[0]
    if kind == 'linear':
        start = options['warmup_learning_rate']
        rising = start + steps / length * (end - start)
    else:
        rising = end * (np.maximum(steps, 1.0) / length) ** options['power']
    return np.where(steps < length, rising, rates)


def _constant(options: Options, steps: np.ndarray) -> np.ndarray:
    return np.full(steps.shape, options['learning_rate'], np.float64)


def _stepwise(options: Options, steps: np.ndarray) -> np.ndarray:
    """A rate counts up to its boundary, that step included."""
    return np.asarray(options['values'], np.float64)[np.searchsorted(options['boundaries'], steps, side='left')]


def _exponential(options: Options, steps: np.ndarray) -> np.ndarray:
    share = steps / options['decay_steps']
    return np.asarray(
        options['initial_learning_rate'] * options['decay_rate'] ** (np.floor(share) if options['staircase'] else share)
    )


def _polynomial(options: Options, steps: np.ndarray) -> np.ndarray:
    start, end, length = options['initial_learning_rate'], options['end_learning_rate'], options['decay_steps']
    lengths = length * np.maximum(1.0, np.ceil(steps / length)) if options['cycle'] else np.full(steps.shape, float(length))
    return np.asarray((start - end) * (1.0 - np.minimum(steps, lengths) / lengths) ** options['power'] + end)


def _cosine(options: Options, steps: np.ndarray) -> np.ndarray:
    share = np.minimum(steps, options['decay_steps']) / options['decay_steps']
    falling = 0.5 * (1.0 + np.cos(np.pi * share))
    return np.asarray(options['initial_learning_rate'] * ((1.0 - options['alpha']) * falling + options['alpha']))


def _power(options: Options, steps: np.ndarray) -> np.ndarray:
    return np.asarray(options['initial_learning_rate'] * np.maximum(steps, 1.0) ** options['power'])


def _power_linear(options: Options, steps: np.ndarray) -> np.ndarray:
    length = options['total_decay_steps']
    tail = length * options['linear_decay_fraction']
    share = np.clip((length - steps) / tail, 0.0, 1.0) if tail > 0 else 1.0
    return _power(options, steps) * share


def _power_with_offset(options: Options, steps: np.ndarray) -> np.ndarray:
    before = options['pre_offset_learning_rate']
    return np.minimum(np.where(steps > 0, _power(options, steps), before), before)


_FORMULAS: Mapping[str, Callable[[Options, np.ndarray], np.ndarray]] = {
    'constant': _constant,
    'stepwise': _stepwise,
    'exponential': _exponential,
    'polynomial': _polynomial,
    'cosine': _cosine,
    'power': _power,
    'power_linear': _power_linear,
    'power_with_offset': _power_with_offset,
}
