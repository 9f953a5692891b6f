"""One training step: the live losses, gradients of what trains, and the optimizer, in one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from stagetrain.detectors.detector import Batch, Detector

StepFunction = Callable[[Batch], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a stage's step computes."""

    detector: Detector
    optimizer: Any
    loss_weights: Mapping[str, float]
    """Live terms only: weight > 0."""
    trained: Sequence[tf.Variable]
    step: tf.Variable
    """Steps done; counted up with the optimizer's application."""
    updated: Sequence[tf.Variable] = ()
    """Statistics that the forward pass moves."""


def build_step(task: Task, strategy: tf.distribute.Strategy) -> StepFunction:
    """Returns a function that carries out one step on a batch.

    The result holds each live loss unweighted, `regularization`, `total` (weighted sum and regularization), all float32 scalars,
    and `is_finite`. When the total or a gradient is not finite, nothing is applied, statistics are put back, and the step is
    not counted.
    """

    def replica_step(batch: Batch) -> dict[str, tf.Tensor]:
        return _replica_step(task, batch, strategy.num_replicas_in_sync)

    if strategy.num_replicas_in_sync == 1:
        return tf.function(replica_step, autograph=False)

    @tf.function(autograph=False)
    def distributed_step(batch: Batch) -> dict[str, tf.Tensor]:
        results = strategy.run(replica_step, args=(batch,))
        is_finite = strategy.reduce(tf.distribute.ReduceOp.MEAN, tf.cast(results.pop('is_finite'), tf.float32), axis=None) == 1.0
        return {
            **{name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None) for name, value in results.items()},
            'is_finite': is_finite,
        }

    return distributed_step


def _replica_step(task: Task, batch: Batch, num_replicas: int) -> dict[str, tf.Tensor]:
    # BatchNorm moves its statistics in the forward pass, before anyone knows whether the step is finite.
    statistics = [variable.read_value() for variable in task.updated]
    # Only what trains is watched: below the frozen border nothing is recorded and no gradient is taken.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(task.trained)
        losses = task.detector.losses(batch, sorted(task.loss_weights))
        regularization = task.detector.regularization(task.trained)
        total = tf.add_n([task.loss_weights[name] * value for name, value in losses.items()]) + regularization
        scaled = total / num_replicas
    gradients = tape.gradient(scaled, task.trained)
    is_finite = _all_finite(total, gradients)
    tf.cond(is_finite, lambda: _apply(task, gradients), lambda: _undo(task, statistics))
    return {**losses, 'regularization': regularization, 'total': total, 'is_finite': is_finite}


def _all_finite(total: tf.Tensor, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns whether the loss and every gradient are finite.

    The loss alone does not tell: `0 * pow(0, .5)` is finite and its gradient NaN. A sum is not finite where an element is not.
    """
    sums = tf.stack([tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients if gradient is not None])
    return tf.logical_and(tf.math.is_finite(total), tf.reduce_all(tf.math.is_finite(sums)))


def _apply(task: Task, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    task.optimizer.apply_gradients(list(zip(gradients, task.trained, strict=True)))
    task.step.assign_add(1)
    return tf.constant(True)


def _undo(task: Task, statistics: Sequence[tf.Tensor]) -> tf.Tensor:
    for variable, value in zip(task.updated, statistics, strict=True):
        variable.assign(value)
    return tf.constant(False)
