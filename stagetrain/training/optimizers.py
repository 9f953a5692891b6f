"""The Model Garden's optimizers and schedules, new in each stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras
from official.modeling import optimization

from stagetrain.config import schema


class Schedule(tf_keras.optimizers.schedules.LearningRateSchedule):
    """The Model Garden's schedule of a stage, times a factor that plateaus and rollbacks lower."""

    def __init__(self, train: schema.Train, scale: float = 1.0):
        """Counts from the stage's first step; `scale` is what the number of replicas multiplies the rates by."""
        self._scale = scale
        self._rate = _factory(train).build_learning_rate()
        self.factor = tf.Variable(1.0, trainable=False, dtype=tf.float32)

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the learning rate of a step, from 0."""
        rate = self._rate(step) if callable(self._rate) else tf.constant(self._rate, tf.float32)
        scaled = tf.cast(rate, tf.float32) if self._scale == 1.0 else self._scale * tf.cast(rate, tf.float32)
        return scaled * self.factor

    def get_config(self) -> dict[str, Any]:
        """Nothing: optimizers are built anew from the pipeline file, never from their own description."""
        return {}


def build_optimizer(train: schema.Train, schedule: Schedule | None = None) -> Any:
    """Returns the Model Garden's optimizer for a stage; its schedule counts from the stage's first step."""
    return _factory(train).build_optimizer(schedule or Schedule(train))


def create_slots(optimizer: Any, variables: Sequence[tf.Variable]) -> None:
    """Creates all that an optimizer keeps of its variables: a step that creates variables is traced twice, for seconds each.

    Args:
      optimizer: from `build_optimizer`, new or one of Keras's legacy optimizers, which have no public way to do this.
      variables: all that it will be given gradients for, in that order.
    """
    create = optimizer._create_all_weights if isinstance(optimizer, tf_keras.optimizers.legacy.Optimizer) else optimizer.build
    create(list(variables))


def _factory(train: schema.Train) -> optimization.OptimizerFactory:
    values: dict[str, Any] = {
        'optimizer': train.optimizer.model_dump(exclude_unset=True),
        'learning_rate': train.learning_rate.model_dump(exclude_unset=True),
    }
    if train.warmup is not None:
        values['warmup'] = train.warmup.model_dump(exclude_unset=True)
    return optimization.OptimizerFactory(optimization.OptimizationConfig(values))
