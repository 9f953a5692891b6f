"""The keys of augmentation: named as in the Model Garden, and strict."""

from __future__ import annotations

import pytest

from stagetrain.config import augmentation
from stagetrain.errors import ConfigError
from stagetrain.pipeline import feature_plan
from tests.config.conftest import Load

RANDAUG = 'model.parser.aug_type={type: randaug, randaug: {num_layers: 1}}'


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('model.parser.aug_type={type: randaugment}', r"aug_type.type: found 'randaugment', expected one of autoaug, randaug"),
        ('model.parser.aug_type={type: autoaug, randaug: {}}', r"options of 'randaug' are given, but type is 'autoaug'"),
        ('model.parser.aug_type={type: autoaug, autoaug: {augmentation_name: v9}}', r"augmentation_name: found 'v9'"),
        (
            'model.parser.aug_type={type: randaug, randaug: {exclude_ops: [Inverse]}}',
            r"exclude_ops\[0\]: found 'Inverse'.*'Invert'\?",
        ),
        ('model.parser.aug_type={type: randaug, randaug: {magnitude: 11}}', r'magnitude: found 11 .* less than or equal to 10'),
        ('model.parser.color_jitter=-0.1', r'color_jitter: found -0.1 .*greater than or equal to 0'),
    ],
)
def test_what_the_model_garden_does_not_have_is_refused(load: Load, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(override)


@pytest.mark.parametrize(('override', 'expected'), [(RANDAUG, True), ('model.parser.color_jitter=0.2', True), ('seed=1', False)])
def test_augmentation_makes_views_endless_and_features_are_not_stored(load: Load, override: str, expected: bool) -> None:
    pipeline = load(override, 'stages.detector.freeze_variables=[backbone/.*, decoder/.*]').pipeline
    assert augmentation.augments(pipeline.model.parser) == expected
    described = feature_plan.describe(pipeline, pipeline.stages[1], num_images=10)
    assert described is not None and ('augmentation makes views endless' in described) == expected
