"""What a process is set to before the first op."""

from __future__ import annotations

import types

import pytest
import tensorflow as tf

from stagetrain.config import schema
from stagetrain.training import runtime


@pytest.mark.parametrize(
    ('network', 'is_asked_for', 'is_on'),
    [('faster_rcnn', True, True), ('faster_rcnn', False, True), ('experiment', True, True), ('experiment', False, False)],
)
def test_ops_of_our_networks_are_deterministic_on_cpu_whatever_is_asked_for(
    network: str, is_asked_for: bool, is_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    monkeypatch.setattr(tf.config.experimental, 'enable_op_determinism', lambda: calls.append(None))
    model = types.SimpleNamespace(type=network, modules={'backbone': 'backbone'})
    runtime.configure(types.SimpleNamespace(model=model, runtime=schema.Runtime(deterministic=is_asked_for)))  # type: ignore[arg-type]
    assert bool(calls) is is_on
