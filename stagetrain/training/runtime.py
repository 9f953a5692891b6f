"""Sets TensorFlow up for a stage: thread pools, deterministic ops, `tf.distribute` strategy."""

from __future__ import annotations

import contextlib

import tensorflow as tf

from stagetrain.config import schema


def configure(runtime: schema.Runtime) -> tf.distribute.Strategy:
    """Applies `runtime` to this process and returns the strategy.

    Bits depend on the size of TensorFlow's thread pools, so they are pinned before the first op runs. In a process where
    TensorFlow runs already with other sizes (a debugger's, a test's) the pools stay as they are.
    """
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already, with pools of other sizes.
        tf.config.threading.set_intra_op_parallelism_threads(runtime.intra_op_threads)
        tf.config.threading.set_inter_op_parallelism_threads(runtime.inter_op_threads)
    if runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
    if runtime.strategy == 'mirrored':
        return tf.distribute.MirroredStrategy()
    if runtime.strategy == 'tpu':
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu='')
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.get_strategy()
