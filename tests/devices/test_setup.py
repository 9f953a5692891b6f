"""What a process is set to before the first op."""

from __future__ import annotations

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
