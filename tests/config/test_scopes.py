"""Scopes divide a stage's variables; one that matches nothing is an error with the nearest name."""

from __future__ import annotations

import pytest

from stagetrain.config import scopes
from stagetrain.config.scopes import LayerNames
from stagetrain.errors import ConfigError

CONV = LayerNames(('backbone/conv1/kernel',))
NORM = LayerNames(('backbone/bn/beta', 'backbone/bn/gamma'), ('backbone/bn/moving_mean', 'backbone/bn/moving_variance'))
HEAD = LayerNames(('rpn_head/conv/bias', 'rpn_head/conv/kernel'))
LAYERS = [CONV, NORM, HEAD]


def test_without_scopes_everything_trains() -> None:
    chosen = scopes.select(LAYERS, [], None, 'stages.a')
    assert chosen.trained == (*NORM.trainable[:2], 'backbone/conv1/kernel', *HEAD.trainable)
    assert chosen.updated == NORM.statistics
    assert chosen.frozen == ()


def test_statistics_stand_still_with_their_layer() -> None:
    chosen = scopes.select(LAYERS, ['backbone/bn/(beta|gamma)'], None, 'stages.a')
    assert chosen.frozen == ('backbone/bn/beta', 'backbone/bn/gamma', 'backbone/bn/moving_mean', 'backbone/bn/moving_variance')
    assert chosen.updated == ()


def test_statistics_of_a_layer_that_trains_in_part_go_on() -> None:
    chosen = scopes.select(LAYERS, ['backbone/bn/beta'], None, 'stages.a')
    assert chosen.frozen == ('backbone/bn/beta',)
    assert chosen.updated == ('backbone/bn/moving_mean', 'backbone/bn/moving_variance')


def test_a_scope_must_match_the_whole_name() -> None:
    assert scopes.matching('backbone', ['backbone/conv1/kernel']) == []
    assert scopes.matching('backbone/.*', ['backbone/conv1/kernel', 'rpn_head/conv/kernel']) == ['backbone/conv1/kernel']


def test_train_variables_freezes_the_rest_and_freeze_wins() -> None:
    chosen = scopes.select(LAYERS, ['rpn_head/conv/bias'], ['rpn_head/.*'], 'stages.a')
    assert chosen.trained == ('rpn_head/conv/kernel',)
    assert len(chosen.frozen) == 6


def test_a_scope_without_match_is_refused_with_the_nearest_name() -> None:
    message = r"stages\.a: scope 'backbone/conv1/kernal' matches no variable.*Did you mean 'backbone/conv1/kernel'\?"
    with pytest.raises(ConfigError, match=message):
        scopes.select(LAYERS, ['backbone/conv1/kernal'], None, 'stages.a')
    with pytest.raises(ConfigError, match=r"scope 'rpn/\.\*' matches no variable of this stage \(modules backbone, rpn_head; 7"):
        scopes.select(LAYERS, [], ['rpn/.*'], 'stages.a')


def test_statistics_cannot_be_frozen_apart_from_their_layer() -> None:
    with pytest.raises(ConfigError, match=r'moving_mean is frozen by scope but backbone/bn/beta of the same layer is trained'):
        scopes.select(LAYERS, ['backbone/bn/moving_.*'], None, 'stages.a')


@pytest.mark.parametrize(
    ('freeze', 'train', 'rests'),
    [
        (['backbone/.*'], None, True),
        (['backbone/conv1/.*'], None, False),
        ([], None, False),
        ([], ['rpn_head/.*', 'decoder/lateral/.*'], True),
        ([], ['.*/kernel'], False),
        ([], ['backbone/bn/.*'], False),
        (['backbone/.*'], ['.*'], True),
    ],
)
def test_a_module_rests_by_what_is_frozen_and_by_what_alone_is_trained(freeze: list, train: list | None, rests: bool) -> None:
    assert scopes.rests_as_a_whole('backbone', freeze, train) == rests


def test_what_scopes_surely_freeze_is_frozen_by_select() -> None:
    everything = [name for layer in LAYERS for name in (*layer.trainable, *layer.statistics)]
    for freeze, train in (
        (['backbone/.*'], None),
        ([], ['rpn_head/.*']),
        (['rpn_head/conv/bias'], ['rpn_head/.*']),
        ([], ['.*/kernel']),
    ):
        surely, frozen = scopes.surely_frozen(everything, freeze, train), scopes.select(LAYERS, freeze, train, 'x').frozen
        assert surely and surely <= set(frozen)
