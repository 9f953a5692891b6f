"""The Model Garden's optimizers and schedules, new in each stage."""

from __future__ import annotations

from typing import Any

import tf_keras
from official.modeling import optimization

from stagetrain.config import schema


def build_optimizer(train: schema.Train) -> Any:
    """Returns the Model Garden's optimizer for a stage; its schedule counts from the stage's first step."""
    return _factory(train).build_optimizer(_factory(train).build_learning_rate())


def learning_rate_at(optimizer: Any, step: int) -> float:
    """Returns the learning rate that the optimizer uses in `step`, from 0."""
    rate = optimizer.learning_rate
    return float(rate(step) if isinstance(rate, tf_keras.optimizers.schedules.LearningRateSchedule) else rate)


def _factory(train: schema.Train) -> optimization.OptimizerFactory:
    values: dict[str, Any] = {
        'optimizer': train.optimizer.model_dump(exclude_unset=True),
        'learning_rate': train.learning_rate.model_dump(exclude_unset=True),
    }
    if train.warmup is not None:
        values['warmup'] = train.warmup.model_dump(exclude_unset=True)
    return optimization.OptimizerFactory(optimization.OptimizationConfig(values))
