"""Freeze and mask audits over optimizers, averages, slots, L2 and clipping; then averages, accumulation, multipliers, ramps."""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.config import schema
from stagetrain.training.averages import Averages
from stagetrain.training.step import build_step
from tests.training import small

pytestmark = pytest.mark.numbers
STRATEGY = tf.distribute.get_strategy
STEPS = 3
MATRIX = list(itertools.product(small.OPTIMIZERS, (False, True), (False, True), (0.0, 0.1), (None, 1e-3)))
if os.environ.get('STAGETRAIN_AUDITS') != 'full':  # Each value still meets each optimizer.
    MATRIX = MATRIX[::5]


def run(training: small.Training, steps: int = STEPS) -> list[dict[str, tf.Tensor]]:
    step = build_step(training.task, STRATEGY())
    return [step(small.batch(number)) for number in range(steps)]


def warm_up(training: small.Training) -> None:
    """Gives every variable an optimizer slot that is not zero, as if the stage before had trained all of it."""
    everything = [*training.network.dense.variables, *training.network.norm.variables[:2], *training.network.head.variables]
    values = [variable.numpy() for variable in everything]
    training.state.optimizer.apply_gradients([(tf.ones_like(variable), variable) for variable in everything])
    for variable, value in zip(everything, values, strict=True):
        variable.assign(value)


@pytest.mark.parametrize(('optimizer', 'has_ema', 'is_warm', 'l2', 'clip'), MATRIX)
def test_what_is_frozen_does_not_move(optimizer: str, has_ema: bool, is_warm: bool, l2: float, clip: float | None) -> None:
    clipping = {'global_clipnorm': clip} if clip and optimizer not in ('lars', 'lamb') else {}
    keys: dict[str, Any] = {'optimizer': small.optimizer_of(optimizer, **clipping)}
    training = small.training(l2=l2, body_trains=False, ema={} if has_ema else None, **keys)
    if is_warm and optimizer != 'adamw_experimental':  # The new Keras optimizers refuse variables that they were not built for.
        warm_up(training)
    before = [variable.numpy() for variable in training.network.body]
    head = [variable.numpy() for variable in training.network.head.variables]
    assert all(bool(result['is_finite']) for result in run(training))
    largest = max(np.abs(v.numpy() - old).max() for v, old in zip(training.network.body, before, strict=True))
    assert largest == 0.0
    assert any((v.numpy() != old).any() for v, old in zip(training.network.head.variables, head, strict=True))


@pytest.mark.parametrize('optimizer', small.OPTIMIZERS)
def test_a_step_is_traced_once(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that created its slots would be traced again for the second one."""
    losses, traced = small.Network.losses, []
    monkeypatch.setattr(small.Network, 'losses', lambda *args: traced.append(args) or losses(*args))
    training = small.training(optimizer=small.optimizer_of(optimizer))
    step = build_step(training.task, STRATEGY())
    for number in range(STEPS):
        step.try_out(small.batch(number))
        step(small.batch(number))
    assert len(traced) == 1


@pytest.mark.parametrize('optimizer', small.OPTIMIZERS)
def test_without_freezing_the_layers_the_statistics_would_move(optimizer: str) -> None:
    """The audit above can fail."""
    training = small.training(optimizer=small.optimizer_of(optimizer), trained=lambda network: network.head.trainable_variables)
    before = [variable.numpy() for variable in training.network.body]
    run(training)
    assert any((v.numpy() != old).any() for v, old in zip(training.network.body, before, strict=True))


@pytest.mark.parametrize(
    ('optimizer', 'has_ema'),
    list(itertools.product(small.OPTIMIZERS, (False, True)))[:: 1 if os.environ.get('STAGETRAIN_AUDITS') == 'full' else 3],
)
def test_a_masked_term_that_would_be_nan_leaves_a_run_as_it_is_without_it(optimizer: str, has_ema: bool) -> None:
    keys: dict[str, Any] = {'optimizer': small.optimizer_of(optimizer), 'ema': {} if has_ema else None}
    below_zero = {**small.batch(0), 'target': tf.constant([1.0, 1.0, -1.0, 1.0])}
    without, masked, live = (
        small.training(terms, **keys) for terms in ({'square': 1.0}, {'square': 1.0, 'log': 0.0}, {'square': 1.0, 'log': 1e-30})
    )
    for training in (without, masked):
        assert bool(build_step(training.task, STRATEGY())(below_zero)['is_finite'])
    values, others = without.values(), masked.values()
    assert sorted(values) == sorted(others) and len(values) > 6
    for key, value in values.items():
        np.testing.assert_array_equal(value, others[key], err_msg=key)
    result = build_step(live.task, STRATEGY())(below_zero)
    assert not bool(result['is_finite']) and np.isnan(result['log'])


# ---- averages --------------------------------------------------------------------------------------------------------------


def test_averages_begin_as_the_weights_and_follow_them() -> None:
    training = small.training(ema={'average_decay': 0.75, 'dynamic_decay': False})
    averages, variables = training.state.averages, training.task.trained
    assert averages is not None
    expected = [variable.numpy() for variable in variables]
    for shadow, value in zip(averages.shadows, expected, strict=True):
        np.testing.assert_array_equal(shadow.numpy(), value)
    step = build_step(training.task, STRATEGY())
    for number in range(STEPS):
        step(small.batch(number))
        expected = [0.75 * old + 0.25 * v.numpy() for old, v in zip(expected, variables, strict=True)]
    for shadow, value in zip(averages.shadows, expected, strict=True):
        np.testing.assert_allclose(shadow.numpy(), value, rtol=1e-6, atol=1e-7)


def test_dynamic_decay_keeps_less_at_first() -> None:
    variable = tf.Variable(1.0)
    averages = Averages([variable], schema.Ema(average_decay=0.99))
    variable.assign(2.0)
    averages.update()
    assert float(averages.shadows[0]) == pytest.approx(0.1 * 1.0 + 0.9 * 2.0)
    averages.update()
    assert float(averages.shadows[0]) == pytest.approx(2 / 11 * 1.9 + 9 / 11 * 2.0)


def test_a_swap_gives_every_bit_back() -> None:
    values = np.array([1e-30, 1.0, 3.3e7, -0.1, np.float32(1) / 3], np.float32)  # Adding and subtracting would round these.
    variable = tf.Variable(values)
    averages = Averages([variable], schema.Ema())
    averages.shadows[0].assign(values[::-1] * 1e9)
    with averages.swapped_in():
        np.testing.assert_array_equal(variable.numpy(), values[::-1] * np.float32(1e9))
    np.testing.assert_array_equal(variable.numpy(), values)


# ---- accumulation, multipliers, ramps, clipping ----------------------------------------------------------------------------


@pytest.mark.parametrize('parts', [2, 4])
def test_a_batch_in_parts_gives_the_gradients_of_the_batch(parts: int) -> None:
    """BatchNorm frozen, for it sees the parts and not the batch."""
    whole = small.training(l2=0.1, body_trains=False)
    divided = small.training(l2=0.1, body_trains=False, gradient_accumulation=parts)
    for one, other in zip(run(whole), run(divided), strict=True):
        for name in ('square', 'regularization', 'total'):
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5)
    for one, other in zip(whole.network.head.variables, divided.network.head.variables, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize('optimizer', small.OPTIMIZERS)
def test_a_multiplier_is_another_learning_rate(optimizer: str) -> None:
    def head_after(rate: float, factor: float | None) -> np.ndarray:
        schedule = {'type': 'constant', 'constant': {'learning_rate': rate}}
        training = small.training(body_trains=False, optimizer=small.optimizer_of(optimizer), learning_rate=schedule)
        if factor is not None:
            every = [(variable, factor) for variable in training.task.trained]
            training.task = dataclasses.replace(training.task, multiplied=every)
        run(training)
        return np.array(training.network.head.kernel.numpy())

    start = small.training(body_trains=False).network.head.kernel.numpy()
    np.testing.assert_allclose(head_after(0.01, 2.0), head_after(0.02, None), rtol=1e-4, atol=1e-6)
    assert np.abs(head_after(0.01, 2.0) - start).max() > 1.5 * np.abs(head_after(0.01, None) - start).max() > 0


def test_a_ramp_raises_a_weight_step_by_step() -> None:
    training = small.training({'square': 2.0}, body_trains=False)
    training.task = dataclasses.replace(training.task, ramps={'square': schema.Ramp(start=0.5, steps=2)})
    shares = [float(result['total']) / float(result['square']) for result in run(training, 4)]
    assert shares == pytest.approx([1.0, 1.5, 2.0, 2.0])


@pytest.mark.parametrize('optimizer', ['sgd', 'adamw_experimental'])
def test_clipping_is_applied(optimizer: str) -> None:
    """With SGD without momentum the step's norm is the rate times the clipped norm."""
    keys = {'momentum': 0.0} if optimizer == 'sgd' else {'weight_decay': 0.0}
    training = small.training(body_trains=False, optimizer=small.optimizer_of(optimizer, global_clipnorm=0.1, **keys))
    before = [variable.numpy() for variable in training.network.head.variables]
    run(training, 1)
    moved = np.sqrt(sum(((v.numpy() - o) ** 2).sum() for v, o in zip(training.network.head.variables, before, strict=True)))
    if optimizer == 'sgd':
        assert moved == pytest.approx(0.01 * 0.1, rel=1e-3)
    else:
        assert moved > 0
