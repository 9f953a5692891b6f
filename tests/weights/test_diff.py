from __future__ import annotations

import math

import numpy as np

from stagetrain.weights import diff

BEFORE = {
    'a/kernel': np.array([3.0, 4.0], np.float32),
    'a/bias': np.array([1.0], np.float32),
    'b/kernel': np.zeros([2], np.float32),
    'b/old': np.zeros([1], np.float32),
    'b/wide': np.zeros([2, 3], np.float32),
}
AFTER = {
    'a/kernel': np.array([3.0, 5.0], np.float32),
    'a/bias': np.array([1.0], np.float32),
    'b/kernel': np.array([0.0, 2.0], np.float32),
    'b/new': np.zeros([1], np.float32),
    'b/wide': np.zeros([3, 2], np.float32),
}


def test_every_name_gets_a_verdict() -> None:
    verdicts = {change.name: change.verdict for change in diff.compare(BEFORE, AFTER)}
    assert verdicts == {
        'a/bias': 'equal',
        'a/kernel': 'changed',
        'b/kernel': 'changed',
        'b/new': 'only in B',
        'b/old': 'only in A',
        'b/wide': 'other shape',
    }


def test_a_change_is_told_in_absolute_and_relative_size() -> None:
    changes = {change.name: change for change in diff.compare(BEFORE, AFTER)}
    assert (changes['a/kernel'].largest, changes['a/kernel'].relative) == (1.0, 0.2)
    assert changes['b/kernel'].relative == math.inf
    assert (changes['a/bias'].largest, changes['a/bias'].relative) == (0.0, 0.0)


def test_modules_are_summed_up() -> None:
    found = diff.summaries(diff.compare(BEFORE, AFTER))
    assert found['a'] == diff.Summary(num_equal=1, num_changed=1, num_other=0, largest=1.0, relative=1 / math.sqrt(26))
    assert found['b'] == diff.Summary(num_equal=0, num_changed=1, num_other=3, largest=2.0, relative=math.inf)


def test_zero_with_another_sign_is_a_change_of_bits() -> None:
    (change,) = diff.compare({'x': np.array([0.0])}, {'x': np.array([-0.0])})
    assert (change.verdict, change.largest) == ('changed', 0.0)


def test_another_type_of_numbers_is_no_equal_value() -> None:
    (change,) = diff.compare({'x': np.zeros(2, np.float32)}, {'x': np.zeros(2, np.float64)})
    assert change.verdict == 'other shape'


def test_nan_shows_as_nan() -> None:
    (change,) = diff.compare({'x': np.zeros(2)}, {'x': np.array([0.0, np.nan])})
    assert change.verdict == 'changed'
    assert math.isnan(change.largest)


def test_the_module_of_a_model_garden_path_stands_behind_model() -> None:
    assert diff.module_of('model/backbone/layer-1/kernel') == 'backbone'
    assert diff.module_of('conv1/kernel') == 'conv1'
