"""Stages of another length: every count of steps is stretched with them, and nothing else."""

from __future__ import annotations

import pathlib
import re
from fractions import Fraction
from typing import Any

import pydantic
import pytest

from stagetrain.config import lengths, schema
from stagetrain.config.document import Node, Place, from_plain, plain
from stagetrain.config.load import load_pipeline, with_lengths
from stagetrain.errors import ConfigError
from tests.config.test_recipes import CONFIGS
from tests.config.test_shipped_configs import ENVIRON

PLACE = Place('a.yaml', 3, pathlib.Path())
TRAIN = {
    'steps': 600,
    'learning_rate': {'type': 'stepwise', 'stepwise': {'boundaries': [300, 500], 'values': [0.3, 0.2, 0.1], 'offset': 0}},
    'warmup': {'type': 'linear', 'linear': {'warmup_steps': 50}},
    'validation_interval': 100,
    'early_stopping': {'patience': 3},
    'checkpoint_interval': 500,
    'batch_size': 4,
}


def stage(**train: Any) -> Node:
    return from_plain({'name': 'a', 'train': {**TRAIN, **train}, 'loss_ramps': {'box': {'steps': 60}}}, PLACE)


def test_every_count_of_steps_is_stretched_and_nothing_else() -> None:
    found = plain(lengths.with_steps(stage(), 1500, PLACE))
    assert found == {
        'name': 'a',
        'train': {
            **TRAIN,
            'steps': 1500,
            'learning_rate': {'type': 'stepwise', 'stepwise': {**TRAIN['learning_rate']['stepwise'], 'boundaries': [750, 1250]}},
            'warmup': {'type': 'linear', 'linear': {'warmup_steps': 125}},
            'validation_interval': 250,
        },
        'loss_ramps': {'box': {'steps': 150}},
    }


def test_there_and_back_is_the_same_and_no_count_falls_below_one() -> None:
    assert plain(lengths.with_steps(lengths.with_steps(stage(), 1200, PLACE), 600, PLACE)) == plain(stage())
    assert plain(lengths.with_steps(stage(), 3, PLACE))['train']['warmup']['linear']['warmup_steps'] == 1


def test_epochs_are_stretched_by_a_factor_or_replaced_by_steps() -> None:
    in_epochs = from_plain({'train': {'epochs': 12, 'warmup': {'linear': {'warmup_steps': 10}}}}, PLACE)
    assert plain(lengths.by_factor(in_epochs, Fraction(3, 2), PLACE)) == {
        'train': {'epochs': 18.0, 'warmup': {'linear': {'warmup_steps': 15}}}
    }
    assert plain(lengths.with_steps(from_plain({'train': {'epochs': 12}}, PLACE), 5, PLACE)) == {'train': {'steps': 5}}
    with pytest.raises(ConfigError, match=r'a.yaml:3: the schedules count steps \(a.yaml:3\), but `train.steps` does not say'):
        lengths.with_steps(in_epochs, 5, PLACE)


def _counts(model: type[pydantic.BaseModel], path: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Returns the keys of a choice of schedules that count steps: whole numbers, or lists of them."""
    return {
        (*path, lengths.ANY, name)
        for branch in model.model_fields.values()
        if isinstance(branch.annotation, type) and issubclass(branch.annotation, pydantic.BaseModel)
        for name, field in branch.annotation.model_fields.items()
        if re.search(r'\bint\b', str(field.annotation))
    }


def test_every_count_of_the_model_gardens_schedules_is_known() -> None:
    fields = schema.Train.model_fields
    rates = _counts(schema.optimization.LrConfig, ('train', 'learning_rate'))
    warmups = _counts(schema.optimization.WarmupConfig, ('train', 'warmup'))
    assert {'learning_rate', 'warmup'} <= set(fields) and len(rates) >= 4 and warmups
    assert rates | warmups <= set(lengths.STEP_COUNTS)


def test_a_shipped_pipeline_of_other_lengths_keeps_everything_else() -> None:
    loaded = load_pipeline(CONFIGS / 'bccd' / 'four_step.yaml', environ=ENVIRON)
    longer = with_lengths(loaded, {'rpn_1': 300, 'end_to_end.joint': 2400})
    rpn_1, detector_1 = longer.pipeline.stages[:2]
    assert (rpn_1.train.steps, rpn_1.train.learning_rate.stepwise.boundaries) == (300, [250])
    assert detector_1 == loaded.pipeline.stages[1]
    joint = longer.pipeline.compare['end_to_end'].stages[0].train
    assert (joint.steps, joint.learning_rate.stepwise.boundaries, joint.warmup.linear.warmup_steps) == (2400, [2000], 100)
    assert longer.place(('stages', 0, 'train', 'steps')) == loaded.place(('stages', 0, 'train', 'steps'))
    assert with_lengths(longer, {'rpn_1': 600, 'end_to_end.joint': 1200}).pipeline == loaded.pipeline
