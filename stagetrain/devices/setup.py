"""Sets TensorFlow up for a stage: thread pools, deterministic ops, `tf.distribute` strategy.

strategy = configure(pipeline.runtime)
with strategy.scope():
    network = build_network(pipeline, stage)
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from stagetrain.config import schema, specs, strategies
from stagetrain.config.options import NoOptions


def configure(runtime: schema.Runtime, *, has_our_gradients: bool = False) -> tf.distribute.Strategy:
    """Applies `runtime` to this process and returns the strategy.

    Bits depend on the size of TensorFlow's thread pools, so they are pinned before the first op runs. In a process where
    TensorFlow runs already with other sizes (a debugger's, a test's) the pools stay as they are.

    Args:
      runtime: the pipeline's.
      has_our_gradients: a network of ours is trained, not an experiment. On CPU ops are then deterministic even where `runtime`
        asks for none: without it TensorFlow's kernel of the gradient of `crop_and_resize`
        (tensorflow/core/kernels/image/crop_and_resize_op.cc) adds to one place from several threads at once and loses some of it.

    Raises:
      ConfigError: the strategy cannot be set up in this process.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, with pools of other sizes.
        tf.config.threading.set_intra_op_parallelism_threads(runtime.intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(runtime.inter_op_threads)
    spec, options = strategies.chosen(runtime)
    strategy: tf.distribute.Strategy = specs.load_implementation(spec.implementation)(options)
    with strategy.scope():
        is_deterministic = runtime.deterministic or (has_our_gradients and runs_on_cpu())
    if is_deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy


def one_device(options: NoOptions) -> tf.distribute.Strategy:
    """Builds the strategy `one_device`: TensorFlow's default, which needs no scope."""
    del options
    return tf.distribute.get_strategy()


NATIVE, GENERAL, PLAIN = 'native', 'general', 'plain'
"""Kernels that networks compute with: TensorFlow's own for CPUs; the Model Garden's layers, which suit accelerators; or, for one
image and in inference only, ops that TensorFlow Lite and ONNX have too."""
_asked_for: contextvars.ContextVar[str | None] = contextvars.ContextVar('kernels', default=None)


def kernels() -> str:
    """Returns which kernels networks compute with: by the strategy in scope, but inside of `with_kernels` as that says."""
    return _asked_for.get() or (NATIVE if runs_on_cpu() else GENERAL)


@contextlib.contextmanager
def with_kernels(chosen: str) -> Iterator[None]:
    """Has networks compute with some kernels whatever the machine, for graphs that other machines run.

    Must surround the building of a network as well as its tracing.
    """
    former = _asked_for.set(chosen)
    try:
        yield
    finally:
        _asked_for.reset(former)


@contextlib.contextmanager
def readable_statistics() -> Iterator[None]:
    """Has variables that each replica moves for itself, as BatchNorm's statistics, read as those of the first replica.

    TensorFlow reads their mean, and the mean of equal numbers can have other bits than they. A step leaves them equal.
    """

    def create(next_creator: Callable[..., tf.Variable], **keys: Any) -> tf.Variable:
        if keys.get('synchronization') == tf.VariableSynchronization.ON_READ:
            keys['aggregation'] = tf.VariableAggregation.ONLY_FIRST_REPLICA
        return next_creator(**keys)

    if not tf.distribute.has_strategy():
        yield
        return
    with tf.variable_creator_scope(create):
        yield


def runs_on_cpu() -> bool:
    """Returns whether the strategy in whose scope this is called computes on CPUs alone.

    Outside of every scope TensorFlow computes on an accelerator where one is visible.
    """
    if not tf.distribute.has_strategy():
        return not tf.config.list_logical_devices('GPU') and not tf.config.list_logical_devices('TPU')
    return all(':CPU:' in device.upper() for device in tf.distribute.get_strategy().extended.worker_devices)
