"""Sets TensorFlow up for a stage: thread pools, deterministic ops, `tf.distribute` strategy."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from stagetrain.config import schema


def configure(runtime: schema.Runtime, *, has_our_gradients: bool = False) -> tf.distribute.Strategy:
    """Applies `runtime` to this process and returns the strategy.

    Bits depend on the size of TensorFlow's thread pools, so they are pinned before the first op runs. In a process where
    TensorFlow runs already with other sizes (a debugger's, a test's) the pools stay as they are.

    Args:
      runtime: the pipeline's.
      has_our_gradients: a network of ours is trained, not an experiment. On CPU ops are then deterministic even where `runtime`
        asks for none: without it TensorFlow's kernel of the gradient of `crop_and_resize`
        (tensorflow/core/kernels/image/crop_and_resize_op.cc) adds to one place from several threads at once and loses some of it.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, with pools of other sizes.
        tf.config.threading.set_intra_op_parallelism_threads(runtime.intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(runtime.inter_op_threads)
    if runtime.deterministic or (has_our_gradients and runtime.strategy != 'tpu' and runs_on_cpu()):
        tf.config.experimental.enable_op_determinism()
    if runtime.strategy == 'mirrored':
        return tf.distribute.MirroredStrategy()
    if runtime.strategy == 'tpu':
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu='')
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.get_strategy()


def runs_on_cpu() -> bool:
    """Whether the step runs on a CPU: no accelerator is visible to TensorFlow."""
    return not tf.config.list_logical_devices('GPU') and not tf.config.list_logical_devices('TPU')
