from __future__ import annotations

import pytest

from stagetrain.errors import WeightsError
from stagetrain.weights import renaming

NAMES = ('Conv_1/weights', 'Conv_1/biases', 'Conv_12/weights', 'global_step')


def test_a_template_makes_canonical_names_of_what_its_pattern_matches_in_full() -> None:
    found = renaming.apply({r'Conv_(\d+)/weights': r'backbone/conv_\1/kernel'}, NAMES, 'a.ckpt')
    assert found == {'backbone/conv_1/kernel': 'Conv_1/weights', 'backbone/conv_12/kernel': 'Conv_12/weights'}


def test_the_first_pattern_that_matches_decides() -> None:
    found = renaming.apply(
        {'Conv_1/weights': 'rpn_head/kernel', r'Conv_(\d+)/weights': r'backbone/conv_\1/kernel'}, NAMES, 'a.ckpt'
    )
    assert found == {'rpn_head/kernel': 'Conv_1/weights', 'backbone/conv_12/kernel': 'Conv_12/weights'}


def test_a_pattern_that_decides_nothing_is_refused() -> None:
    with pytest.raises(
        WeightsError, match=r"a\.ckpt: rule 'Conv_1/weight' decides about none of the 4 names.*Did you mean 'Conv_1/weights'"
    ):
        renaming.apply({'Conv_1/weight': 'backbone/kernel'}, NAMES, 'a.ckpt')


def test_two_names_for_one_variable_are_refused() -> None:
    with pytest.raises(WeightsError, match="rules give 'backbone/kernel' to both Conv_1/weights and Conv_12/weights; narrow"):
        renaming.apply({r'Conv_\d+/weights': 'backbone/kernel'}, NAMES, 'a.ckpt')


def test_a_template_with_a_group_too_many_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"template 'backbone/\\2' does not fit its pattern 'Conv_\(\\d\)/biases'"):
        renaming.apply({r'Conv_(\d)/biases': r'backbone/\2'}, NAMES, 'a.ckpt')
