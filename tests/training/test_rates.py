"""The formulas that compare schedules give the rates of the Model Garden's own schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.pipeline import fingerprint, rates
from stagetrain.training.optimizers import Schedule

pytestmark = pytest.mark.numbers
STEPS = 30
LINEAR = {'type': 'linear', 'linear': {'warmup_steps': 7, 'warmup_learning_rate': 0.002}}
POLYNOMIAL = {'type': 'polynomial', 'polynomial': {'warmup_steps': 6, 'power': 2.0}}
SCHEDULES: dict[str, dict[str, Any]] = {
    'constant': {'learning_rate': 0.01},
    'stepwise': {'boundaries': [5, 20], 'values': [0.1, 0.01, 0.001]},
    'exponential': {'initial_learning_rate': 0.1, 'decay_steps': 9, 'decay_rate': 0.5},
    'polynomial': {'initial_learning_rate': 0.1, 'decay_steps': 12, 'end_learning_rate': 0.001, 'power': 2.0},
    'cosine': {'initial_learning_rate': 0.1, 'decay_steps': 12, 'alpha': 0.05},
    'power': {'initial_learning_rate': 0.1, 'power': -0.5},
    'power_linear': {'initial_learning_rate': 0.1, 'total_decay_steps': 24, 'power': -0.5, 'linear_decay_fraction': 0.5},
    'power_with_offset': {'initial_learning_rate': 0.1, 'power': -0.5, 'offset': 4, 'pre_offset_learning_rate': 0.03},
}
OTHERS = [
    ('stepwise', {'boundaries': [5, 20], 'values': [0.1, 0.01, 0.001], 'offset': 3}),
    ('exponential', {'initial_learning_rate': 0.1, 'decay_steps': 9, 'decay_rate': 0.5, 'staircase': True}),
    ('polynomial', {'initial_learning_rate': 0.1, 'decay_steps': 8, 'end_learning_rate': 0.001, 'cycle': True}),
    ('cosine', {'initial_learning_rate': 0.1, 'decay_steps': 12, 'offset': 5}),
]


def train(kind: str, options: dict[str, Any], warmup: dict[str, Any] | None) -> schema.Train:
    sgd = {'type': 'sgd', 'sgd': {}}
    return schema.Train(steps=STEPS, optimizer=sgd, learning_rate={'type': kind, kind: options}, warmup=warmup)


@pytest.mark.parametrize('warmup', [None, LINEAR, POLYNOMIAL], ids=['no warm-up', 'linear', 'polynomial'])
@pytest.mark.parametrize(('kind', 'options'), [*SCHEDULES.items(), *OTHERS])
def test_the_rates_are_those_of_the_model_garden(kind: str, options: dict[str, Any], warmup: dict[str, Any] | None) -> None:
    settings = train(kind, options, warmup)
    expected = [float(Schedule(settings)(step)) for step in range(STEPS)]
    found = rates.learning_rates(dict(fingerprint.flatten('train', settings)), np.arange(STEPS))
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=2e-5)


def test_every_schedule_has_a_formula_but_the_one_that_check_refuses() -> None:
    known = set(schema.Train.model_fields['learning_rate'].annotation.model_fields) - {'type'}
    assert known - set(SCHEDULES) == {'step_cosine_with_offset'}
    schedule = Schedule(train('step_cosine_with_offset', {'boundaries': [1, 9], 'values': [0.1, 0.01]}, None))
    assert np.isfinite(schedule(8)) and np.isnan(schedule(9)), 'the reason that check gives'
    assert rates.learning_rates({'train.learning_rate.type': 'step_cosine_with_offset'}, np.arange(2)) is None
