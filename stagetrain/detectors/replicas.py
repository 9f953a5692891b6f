"""Losses of a batch whose parts several replicas compute: the mean of what they give is the loss of the whole batch.

    count = mean_of_replicas(tf.reduce_sum(positive))        # sums divided by it, and averaged, are divided by the whole count

On one device everything here gives back what it is given. B images of a replica, h x w places, A anchors of a place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

MARGIN = 0.01
"""What the Model Garden's losses of boxes and masks add to the count that they divide by, on each replica
(`official.vision.losses.maskrcnn_losses`)."""


def num_replicas() -> int:
    """Returns how many replicas share the batch that is computed."""
    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def mean_of_replicas(value: tf.Tensor) -> tf.Tensor:
    """Returns the mean of what replicas count in their parts of a batch."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, value)


def with_one_margin(loss: tf.Tensor, count: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Returns one of the Model Garden's losses with `MARGIN` added once for the whole batch, as on one device.

    Args:
      loss: divided by the mean of the counts of all replicas and `MARGIN`.
      count: gives what the replica counts in its part.
    """
    if num_replicas() == 1:
        return loss
    mean = mean_of_replicas(count())
    return loss * (mean + MARGIN) / (mean + MARGIN / num_replicas())


def level_loss(
    loss: Callable[[Mapping[str, tf.Tensor], Mapping[str, tf.Tensor]], tf.Tensor],
    encoded: Mapping[str, tf.Tensor],
    targets: Mapping[str, tf.Tensor],
) -> tf.Tensor:
    """Returns the Model Garden's `RpnBoxLoss`, which divides at each level by four times the number of anchors with an object.

    Args:
      loss: it.
      encoded: level -> encoded boxes float32 `[B, h, w, A * 4]`.
      targets: likewise, 0 where an anchor has no object.
    """
    if num_replicas() == 1:
        return loss(encoded, targets)

    def of(level: str) -> tf.Tensor:
        boxes = tf.reshape(targets[level], [-1, 4])
        has_object = tf.reduce_any(tf.abs(boxes) > 1e-6, axis=-1)
        own = loss({level: encoded[level]}, {level: targets[level]})
        return with_one_margin(own, lambda: 4.0 * tf.reduce_sum(tf.cast(has_object, tf.float32)))

    return tf.add_n([of(level) for level in sorted(encoded)])
