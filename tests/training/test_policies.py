"""What follows from a stage's evaluations, worked by hand."""

from __future__ import annotations

import pathlib

import pytest

from stagetrain.config import load, schema
from stagetrain.errors import ConfigError
from stagetrain.training import history, policies
from tests import tiny


@pytest.mark.parametrize(
    ('values', 'mode', 'expected'),
    [
        ([0.1, 0.3, 0.2], 'max', 1),
        ([0.1, 0.3, 0.3], 'max', 1),  # The first of equal ones.
        ([3.0, 1.0, 2.0], 'min', 1),
        ([None, 0.0], 'max', 1),
        ([None], 'max', None),
        ([], 'max', None),
    ],
)
def test_the_best_value(values: list[float | None], mode: str, expected: int | None) -> None:
    assert policies.best_index(values, mode) == expected


def test_early_stopping_counts_evaluations_behind_the_best_one() -> None:
    settings = schema.EarlyStopping(patience=2)
    assert not policies.should_stop([], settings, 'max')
    assert not policies.should_stop([None, None, None], settings, 'max')  # Nothing measured yet: nothing to give up on.
    assert not policies.should_stop([0.1, 0.2, 0.1], settings, 'max')
    assert policies.should_stop([0.1, 0.2, 0.1, None], settings, 'max')
    assert not policies.should_stop([0.2, 0.1, 0.3, 0.2], settings, 'max')
    assert policies.should_stop([0.1, 0.2, 0.3], settings, 'min')


def test_a_gain_of_less_than_min_delta_is_none_and_does_not_move_the_mark() -> None:
    settings = schema.EarlyStopping(patience=3, min_delta=0.05)
    assert policies.should_stop([0.50, 0.52, 0.54, 0.545], settings, 'max')
    assert not policies.should_stop([0.50, 0.52, 0.54, 0.56], settings, 'max')  # 0.06 above the mark, in small steps.


def test_the_rate_falls_once_a_plateau() -> None:
    settings = schema.ReduceOnPlateau(patience=2, factor=0.5)
    factors = [policies.rate_factor([0.3] * count, settings, 'max') for count in range(1, 8)]
    assert factors == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert policies.rate_factor([0.3, 0.2, 0.4, 0.3], settings, 'max') == 1.0


def test_cooldown_and_the_smallest_factor() -> None:
    settings = schema.ReduceOnPlateau(patience=1, factor=0.1, cooldown=2, min_factor=0.05)
    factors = [policies.rate_factor([0.3] * count, settings, 'max') for count in range(1, 7)]
    assert factors == [1.0, 0.1, 0.1, 0.1, 0.05, 0.05]


def train_settings(**keys: object) -> schema.Train:
    stage = tiny.stage('rpn', tiny.RPN, {'validation_interval': 2, **keys})
    document = tiny.pipeline(pathlib.Path('data'), [stage])
    return load.load_resolved(document).pipeline.stages[0].train


def test_a_history_remembers_what_its_checkpoint_knew_and_a_new_stage_knows_nothing(tmp_path: pathlib.Path) -> None:
    train = train_settings(early_stopping={'patience': 1}, reduce_on_plateau={'patience': 1, 'factor': 0.5})
    first = history.History(tmp_path, train)
    for step, value in ((2, 0.5), (4, 0.4)):
        first.append({'step': step, 'seconds': step, 'evaluation': {'AP': value}})
    assert (first.rate_factor, first.ends_early, first.is_best()) == (0.5, True, False)
    again = history.History(tmp_path, train)
    assert (again.rate_factor, again.ends_early, again.seconds) == (0.5, True, 4)
    again.keep_until(3)  # A crash undid step 4.
    assert (again.rate_factor, again.ends_early, again.is_best()) == (1.0, False, True)
    (tmp_path / 'next').mkdir()
    following = history.History(tmp_path / 'next', train)
    following.append({'step': 2, 'seconds': 2, 'evaluation': {'AP': 0.1}})  # Worse than the best of the stage before.
    assert (following.rate_factor, following.ends_early, following.is_best()) == (1.0, False, True)


def test_a_metric_that_is_not_measured_is_named_with_those_that_are(tmp_path: pathlib.Path) -> None:
    lines = history.History(tmp_path, train_settings(best_metric='recal_0.5'))
    lines.append({'step': 2, 'evaluation': {'recall_0.5': 0.4, 'recall_0.7': 0.2}})
    with pytest.raises(ConfigError, match=r"best_metric: 'recal_0\.5' is not measured.*recall_0\.5, recall_0\.7.*Did you mean"):
        lines.values()


@pytest.mark.parametrize('keys', [{'early_stopping': {}}, {'reduce_on_plateau': {}}, {'hand_over': 'best'}], ids=str)
def test_what_judges_by_evaluations_needs_them(keys: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match='without validation_interval'):
        train_settings(**{**keys, 'validation_interval': None})
