"""Strategies: which devices a stage computes on and how, by registered kinds, described without importing TensorFlow.

    register_strategy(StrategySpec('first_cpu', implementation='my_package.first_cpu:build'))

A registered strategy is a value of `runtime.strategy`; where it has options, they stand in a key of its name beside it:

    runtime: {strategy: mirrored, mirrored: {num_devices: 2}}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from stagetrain.config.options import NoOptions, Strict
from stagetrain.config.registry import Registry

ONE_DEVICE = 'one_device'
"""The strategy of a pipeline that names none."""


@dataclasses.dataclass(frozen=True)
class StrategySpec:
    """A strategy."""

    name: str
    implementation: str = ''
    """Place of `build(options) -> tf.distribute.Strategy`, called once in a process that computes, before TensorFlow's first op:
    it may set devices up. Networks, optimizers and averages are made in the scope of what it returns."""
    options: type[Strict] = NoOptions
    """The type of its key under `runtime`; every option has a default."""
    num_replicas: Callable[[Any], int] = lambda options: 1
    """Given the options: how many replicas share a batch."""
    rules: str = ''
    """Place of `problems(pipeline, options) -> Iterator[(path, text)]`: what of a pipeline it cannot do."""
    refusal: str = ''
    """Why no stage can be trained with it yet; empty when it works."""


_specs: Registry[StrategySpec] = Registry()
register_strategy, strategy, kinds = _specs.register, _specs.named, _specs.kinds
"""The first makes `runtime: {strategy: NAME}` valid."""


def chosen(runtime: Any) -> tuple[StrategySpec, Any]:
    """Returns the strategy that `runtime` names, and its options."""
    spec = strategy(runtime.strategy)
    return spec, getattr(runtime, spec.name, None) or spec.options()


def num_replicas(runtime: Any) -> int:
    """Returns how many replicas share a batch."""
    spec, options = chosen(runtime)
    return spec.num_replicas(options)
