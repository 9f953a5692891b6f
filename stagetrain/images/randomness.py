"""Random numbers that depend on (seed, stage, step, image) and on nothing else.

Stateful generators make a resumed run differ from the uninterrupted one. Here each use of randomness folds its place into a seed,
so that any step can be drawn again, in any process and on any thread.
"""

from __future__ import annotations

import enum
import zlib

import tensorflow as tf


class Purpose(enum.IntEnum):
    """What a seed is for; two purposes at one place draw unrelated numbers."""

    ORDER = 1
    VIEW = 2
    ANCHORS = 3
    ROIS = 4
    FIXED_VIEWS = 5
    AUGMENTATION = 6
    COLOR = 7
    POLICY = 8
    REPEATS = 9


def stage_seed(seed: int, stage: str) -> tf.Tensor:
    """Returns the seed int32 `[2]` from which everything random in a stage derives, but its initial values."""
    return tf.constant([seed & 0x7FFFFFFF, zlib.crc32(stage.encode()) & 0x7FFFFFFF], tf.int32)


def initial_values_seed(seed: int) -> int:
    """Returns the seed of the initialisers: the same in all stages, so that fresh modules are comparable."""
    return seed & 0x7FFFFFFF


def at(seed: tf.Tensor, *places: tf.Tensor | int) -> tf.Tensor:
    """Folds `places` (a step, an image, a `Purpose`) into a seed int32 `[2]`, one after the other."""
    for place in places:
        seed = tf.random.experimental.stateless_fold_in(seed, tf.cast(place, tf.int32))
    return seed


def image_at(position: tf.Tensor, num_images: int, seed: tf.Tensor) -> tf.Tensor:
    """Returns which image is the `position`-th that a stage sees: each epoch is a permutation of its own.

    Args:
      position: int64 scalar, from 0.
      num_images: images in the data set.
      seed: the stage's seed.
    """
    epoch, offset = position // num_images, position % num_images
    return tf.random.experimental.index_shuffle(offset, at(seed, Purpose.ORDER, epoch), tf.constant(num_images - 1, tf.int64))
