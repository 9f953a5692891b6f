"""What a process is set to before the first op."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import tensorflow as tf

from stagetrain.config import schema
from stagetrain.devices import setup


@pytest.mark.parametrize(
    ('is_asked_for', 'has_our_gradients', 'is_on'),
    [(True, False, True), (True, True, True), (False, True, True), (False, False, False)],
)
def test_ops_are_deterministic_on_cpu_where_our_gradients_are_taken_whatever_is_asked_for(
    is_asked_for: bool, has_our_gradients: bool, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(tf.config.experimental, 'enable_op_determinism', lambda: calls.append(None))
    setup.configure(schema.Runtime(deterministic=is_asked_for), has_our_gradients=has_our_gradients)
    assert bool(calls) is is_on


@pytest.mark.parametrize(
    ('strategy', 'is_on_cpu'),
    [
        (lambda: tf.distribute.OneDeviceStrategy('/cpu:0'), True),
        (lambda: tf.distribute.OneDeviceStrategy('/gpu:0'), False),
        (lambda: tf.distribute.MirroredStrategy(['/gpu:0', '/gpu:1']), False),
    ],
)
def test_the_devices_of_the_strategy_in_scope_say_whether_cpu_kernels_are_taken(
    strategy: Callable[[], tf.distribute.Strategy], is_on_cpu: bool
) -> None:
    with strategy().scope():
        assert setup.runs_on_cpu() is is_on_cpu
