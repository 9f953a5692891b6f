"""One training step: the live losses, gradients of what trains, and the optimizer, in one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from stagetrain.config import schema
from stagetrain.detectors.detector import Network
from stagetrain.images.network_input import Batch
from stagetrain.stages.added import NOTHING, Added, AddedLoss, teacher_batch
from stagetrain.stages.network import StageNetwork
from stagetrain.training.averages import Averages
from stagetrain.training.optimizers import create_slots

Result = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Task:
    """What a stage's step computes."""

    detector: Network
    optimizer: Any
    loss_weights: Mapping[str, float]
    """Live terms only: weight > 0."""
    trained: Sequence[tf.Variable]
    step: tf.Variable
    """Steps done; counted up with the optimizer's application."""
    updated: Sequence[tf.Variable] = ()
    """Statistics that the forward pass moves."""
    ramps: Mapping[str, schema.Ramp] = dataclasses.field(default_factory=dict)
    """Loss term -> how its weight rises."""
    multiplied: Sequence[tuple[tf.Variable, float]] = ()
    """Variables with what their steps are multiplied by."""
    averages: Averages | None = None
    num_parts: int = 1
    """Parts that a batch is computed in, one after the other."""
    added: Mapping[str, AddedLoss] = dataclasses.field(default_factory=dict)
    """Loss term -> what computes it, of the terms that are not the network's own."""
    max_loss: float | None = None
    """A total loss above this is treated as one that is not finite."""


def task_of(
    built: StageNetwork,
    stage: schema.Stage,
    optimizer: Any,
    step: tf.Variable,
    averages: Averages | None = None,
    added: Added = NOTHING,
) -> Task:
    """Returns what the steps of a stage compute; `step` counts them, `averages` are those that the option `ema` asks for."""
    return Task(
        built.network,
        optimizer,
        built.loss_weights,
        built.trained,
        step,
        built.updated,
        ramps=stage.loss_ramps,
        multiplied=[(built.variables[name], factor) for name, factor in built.multipliers.items()],
        averages=averages,
        num_parts=stage.train.gradient_accumulation,
        added=added.losses,
        max_loss=stage.train.max_loss,
    )


class StepFunction:
    """A step as one traced function.

    A result holds each live loss unweighted, `regularization`, `total` (weighted sum and regularization), all float32 scalars,
    and `is_finite`: whether the total (not above `max_loss`) and every gradient are finite.
    """

    def __init__(self, task: Task, strategy: tf.distribute.Strategy):
        """Creates the optimizer's slots; traces nothing yet."""
        with strategy.scope():
            create_slots(task.optimizer, task.trained)
        self._traced = _traced(task, strategy)

    def __call__(self, batch: Batch) -> Result:
        """Carries out one step. When it is not finite, nothing is applied, statistics are put back, and it is not counted."""
        return dict(self._traced(batch, tf.constant(True)))

    def try_out(self, batch: Batch) -> Result:
        """Computes a step without applying anything."""
        return dict(self._traced(batch, tf.constant(False)))

    def get_concrete_function(self, batch: Batch) -> Any:
        """Returns the graph, for those who look at its operations."""
        return self._traced.get_concrete_function(batch, tf.constant(True))


def build_step(task: Task, strategy: tf.distribute.Strategy) -> StepFunction:
    """Returns the step of a task."""
    return StepFunction(task, strategy)


def _traced(task: Task, strategy: tf.distribute.Strategy) -> Any:
    with strategy.scope():
        has_replicas = tf.distribute.has_strategy()
    return _traced_in_replicas(task, strategy) if has_replicas else _traced_alone(task)


def _traced_alone(task: Task) -> Any:
    @tf.function(autograph=False)
    def step(batch: Batch, is_applied: tf.Tensor) -> Result:
        # BatchNorm moves its statistics in the forward pass, before anyone knows whether the step is finite.
        statistics = [variable.read_value() for variable in task.updated]
        values, gradients = _in_parts(task, batch, 1)
        is_finite = _is_within(values['total'], _all_finite(values['total'], gradients), task.max_loss)
        tf.cond(tf.logical_and(is_finite, is_applied), lambda: _apply(task, gradients), lambda: _undo(task, statistics))
        return {**values, 'is_finite': is_finite}

    return step


def _traced_in_replicas(task: Task, strategy: tf.distribute.Strategy) -> Any:
    """Each replica computes its share of the batch; then one verdict on all of them decides whether the step is applied.

    An optimizer sums the gradients of all replicas as it applies them, for which it must be called in the replicas, but not
    inside of a condition there. So the condition stands between two runs of the replicas.
    """
    num_replicas = strategy.num_replicas_in_sync

    def compute(batch: Batch) -> tuple[Result, list[Any], tf.Tensor, list[tf.Tensor]]:
        statistics = [variable.read_value() for variable in task.updated]
        values, gradients = _in_parts(task, batch, num_replicas)
        return values, gradients, tf.cast(_all_finite(values['total'], gradients), tf.int32), statistics

    @tf.function(autograph=False)
    def step(batch: Batch, is_applied: tf.Tensor) -> Result:
        with strategy.scope():
            values, gradients, finite, statistics = strategy.run(compute, args=(batch,))
            means = {name: strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None) for name, value in values.items()}
            num_finite = strategy.reduce(tf.distribute.ReduceOp.SUM, finite, axis=None)
            is_finite = _is_within(means['total'], tf.equal(num_finite, num_replicas), task.max_loss)
            tf.cond(
                tf.logical_and(is_finite, is_applied),
                lambda: _apply(task, gradients, strategy),
                lambda: _undo(task, statistics, strategy),
            )
        return {**means, 'is_finite': is_finite}

    return step


def _in_parts(task: Task, batch: Batch, num_replicas: int) -> tuple[Result, list[Any]]:
    """Returns losses and gradients of the batch: their means over its parts, which are computed one after the other."""
    if task.num_parts == 1:
        return _losses_and_gradients(task, batch, num_replicas)

    def part(number: Any) -> Batch:
        def rows(value: tf.Tensor) -> tf.Tensor:
            size = tf.shape(value)[0] // task.num_parts
            return value[number * size : (number + 1) * size]

        return tf.nest.map_structure(rows, batch)

    values, gradients = _losses_and_gradients(task, part(0), num_replicas)
    present = [index for index, gradient in enumerate(gradients) if gradient is not None]
    sums = (values, [tf.convert_to_tensor(gradients[index]) for index in present])

    def add(number: tf.Tensor, sums: Any) -> Any:
        more, more_gradients = _losses_and_gradients(task, part(number), num_replicas)
        new = (more, [tf.convert_to_tensor(more_gradients[index]) for index in present])
        return number + 1, tf.nest.map_structure(tf.add, sums, new)

    _, sums = tf.while_loop(lambda number, _: number < task.num_parts, add, (1, sums), parallel_iterations=1)
    values, found = tf.nest.map_structure(lambda value: value / task.num_parts, sums)
    for index, gradient in zip(present, found, strict=True):
        gradients[index] = gradient
    return values, gradients


def _losses_and_gradients(task: Task, batch: Batch, num_replicas: int) -> tuple[Result, list[Any]]:
    # Only what trains is watched: below the frozen border nothing is recorded and no gradient is taken.
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(task.trained)
        losses = _losses(task, batch)
        regularization = task.detector.regularization(task.trained)
        total = tf.add_n([_weight(task, name) * value for name, value in losses.items()]) + regularization
        scaled = total / num_replicas
    return {**losses, 'regularization': regularization, 'total': total}, tape.gradient(scaled, task.trained)


def _losses(task: Task, batch: Batch) -> Result:
    own = task.detector.losses
    if not task.added:
        return own(batch, sorted(task.loss_weights))
    shared = task.detector.with_features(batch, training=True)  # Computed twice, BatchNorm would move twice.
    others = teacher_batch(batch)
    return own(shared, sorted(set(task.loss_weights) - set(task.added))) | {
        term: loss(shared, others) for term, loss in task.added.items()
    }


def _weight(task: Task, name: str) -> Any:
    weight, ramp = task.loss_weights[name], task.ramps.get(name)
    if ramp is None:
        return weight
    done = tf.minimum(tf.cast(task.step, tf.float32) / ramp.steps, 1.0)
    return weight * (ramp.start + (1.0 - ramp.start) * done)


def _all_finite(total: tf.Tensor, gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns whether the loss and every gradient are finite.

    The loss alone does not tell: `0 * pow(0, .5)` is finite and its gradient NaN. A sum is not finite where an element is not.
    """
    sums = tf.stack([tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients if gradient is not None])
    return tf.logical_and(tf.math.is_finite(total), tf.reduce_all(tf.math.is_finite(sums)))


def _is_within(total: tf.Tensor, is_finite: tf.Tensor, max_loss: float | None) -> tf.Tensor:
    return is_finite if max_loss is None else tf.logical_and(is_finite, total <= max_loss)


def _apply(task: Task, gradients: Sequence[Any], strategy: tf.distribute.Strategy | None = None) -> tf.Tensor:
    before = [variable.read_value() for variable, _ in task.multiplied]
    _run(strategy, lambda own: task.optimizer.apply_gradients(list(zip(own, task.trained, strict=True))), gradients)
    if strategy is not None and strategy.num_replicas_in_sync > 1 and task.updated:
        strategy.run(_share_statistics, args=(task,))
    for (variable, factor), value in zip(task.multiplied, before, strict=True):
        variable.assign(value + factor * (variable - value))
    if task.averages is not None:
        task.averages.update()
    task.step.assign_add(1)
    return tf.constant(True)


def _share_statistics(task: Task) -> None:
    """Gives each replica the mean of what all replicas made of BatchNorm's statistics: they are saved once, for all."""
    own = [variable.read_value() for variable in task.updated]
    means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, own)
    for variable, value in zip(task.updated, means, strict=True):
        variable.assign(value)


def _undo(task: Task, statistics: Sequence[Any], strategy: tf.distribute.Strategy | None = None) -> tf.Tensor:
    def put_back(own: Sequence[tf.Tensor]) -> None:
        for variable, value in zip(task.updated, own, strict=True):
            variable.assign(value)

    _run(strategy, put_back, statistics)
    return tf.constant(False)


def _run(strategy: tf.distribute.Strategy | None, function: Callable[[Any], Any], own: Any) -> None:
    """Calls a function with what belongs to a replica, in every replica of a strategy, if there is one."""
    if strategy is None:
        function(own)
    else:
        strategy.run(function, args=(own,))
