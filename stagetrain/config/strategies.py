"""Strategies: which devices a stage computes on and how, by registered kinds, described without importing TensorFlow.

    register_strategy(StrategySpec('first_cpu', implementation='my_package.first_cpu:build'))

A registered strategy is a value of `runtime.strategy`; where it has options, they stand in a key of its name beside it:

    runtime: {strategy: mirrored, mirrored: {num_devices: 2}}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from stagetrain.config.options import NoOptions, Strict
from stagetrain.config.registry import Registry

ONE_DEVICE = 'one_device'
"""The strategy of a pipeline that names none."""


class ReplicaOptions(Strict):
    """What strategies with several replicas have in common: each replica computes its part of every batch."""

    learning_rate_scaling: Literal['none', 'linear'] = 'none'
    """`linear` multiplies every learning rate by the number of replicas, for a `batch_size` that grew with it (Goyal et al.
    2017). `batch_size` is that of all replicas together, so with `none` a stage learns as it does on one device."""


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


def learning_rate_factor(runtime: Any) -> float:
    """Returns what the learning rates of a pipeline's stages are multiplied by."""
    scaling = getattr(chosen(runtime)[1], 'learning_rate_scaling', 'none')
    return float(num_replicas(runtime)) if scaling == 'linear' else 1.0


def for_one_network(runtime: Any) -> Any:
    """Returns the settings for a process that only detects: several devices are of no use there, and may not be there."""
    shares = issubclass(chosen(runtime)[0].options, ReplicaOptions)
    return runtime.model_copy(update={'strategy': ONE_DEVICE}) if shares else runtime


def num_replicas(runtime: Any) -> int:
    """Returns how many replicas share a batch."""
    spec, options = chosen(runtime)
    return spec.num_replicas(options)
