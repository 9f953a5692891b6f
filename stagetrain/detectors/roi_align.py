"""RoI features of a pyramid by TensorFlow's own `crop_and_resize` kernel.

The Model Garden's `MultilevelROIAligner` gathers four values for every point and writes them out before it weighs them, which
suits TPUs; on CPU the gradient of that gather is the slowest op of a training step. Here all levels lie side by side in one
canvas, so that one native kernel reads (and in the gradient writes) each point once. Both give the same values for boxes inside
the image. Its gradient is right with deterministic ops only, which `devices.setup` turns on: without them several threads add
to one place at once.

B images, R RoIs, S crop size, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import tensorflow as tf
from official.vision.modeling.layers import roi_aligner

from stagetrain.devices import setup

# Boxes of 224 pixels belong to level 4 (Lin et al. 2017, Feature Pyramid Networks, equation 1), as in the Model Garden.
CANONICAL_SIZE_PX, CANONICAL_LEVEL = 224.0, 4.0


class Aligner:
    """Cuts out the features of RoIs: by the native kernel where the strategy in whose scope it is made computes on CPUs,
    elsewhere by the Model Garden's layer."""

    def __init__(self, crop_size: int, sample_offset: float):
        """Args: crop_size: S; sample_offset: where in its cell a point is sampled, in [0, 1]."""
        self._crop_size, self._sample_offset = crop_size, sample_offset
        self._kernels = setup.kernels()

    def __call__(self, features: Mapping[str, tf.Tensor], rois: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[B, R, S, S, C]`; see `align`."""
        if self._kernels != setup.GENERAL:
            return align(features, rois, self._crop_size, self._sample_offset)
        return self._layer(features, rois)

    @functools.cached_property
    def _layer(self) -> roi_aligner.MultilevelROIAligner:
        return roi_aligner.MultilevelROIAligner(crop_size=self._crop_size, sample_offset=self._sample_offset)


def align(features: Mapping[str, tf.Tensor], rois: tf.Tensor, crop_size: int, sample_offset: float) -> tf.Tensor:
    """Crops each RoI from the level that fits its size, by bilinear interpolation at the centres of a grid (He et al. 2017).

    Args:
      features: level -> float32 `[B, h, w, C]`; each level has half the size of the one before.
      rois: float32 `[B, R, 4]` yxyx in pixels of the scaled image.
      crop_size: S.
      sample_offset: where in its cell a point is sampled, in [0, 1].

    Returns:
      float32 `[B, R, S, S, C]`.
    """
    levels = sorted(features, key=int)
    canvas, columns = _canvas([features[level] for level in levels])
    index = _level_of(rois, int(levels[0]), int(levels[-1]))
    stride = tf.pow(2.0, tf.cast(index + int(levels[0]), tf.float32))[..., tf.newaxis]
    top_left, size = rois[..., :2] / stride, (rois[..., 2:] - rois[..., :2]) / stride
    first = top_left + size * (sample_offset / crop_size)
    last = top_left + size * ((crop_size - 1 + sample_offset) / crop_size)
    offset = tf.stack([tf.zeros_like(index, tf.float32), tf.gather(tf.constant(columns, tf.float32), index)], axis=-1)
    extent = tf.constant([canvas.shape[1] - 1, canvas.shape[2] - 1], tf.float32)
    corners = tf.concat([(first + offset) / extent, (last + offset) / extent], axis=-1)
    crops = _crops(canvas, corners, crop_size)
    return tf.reshape(crops, [-1, rois.shape[1] or tf.shape(rois)[1], crop_size, crop_size, canvas.shape[3]])


def _crops(canvas: tf.Tensor, corners: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Returns float32 `[B * R, S, S, C]`: what lies at a grid of points from corner to corner.

    Args:
      canvas: float32 `[B, h, w, C]`.
      corners: float32 `[B, R, 4]`, yxyx of the first and the last point, from 0 to 1.
      crop_size: S.
    """
    flat = tf.reshape(corners, [-1, 4])
    if setup.kernels() == setup.PLAIN:
        return _plain_crops(canvas[0], flat, crop_size)
    image = tf.repeat(tf.range(tf.shape(corners)[0]), tf.shape(corners)[1])
    return tf.image.crop_and_resize(canvas, flat, image, [crop_size, crop_size])


def _plain_crops(canvas: tf.Tensor, corners: tf.Tensor, crop_size: int) -> tf.Tensor:
    """Does what `tf.image.crop_and_resize` does on one image float32 `[h, w, C]`, by ops that TensorFlow Lite has."""
    height, width, num_channels = canvas.shape
    (top, bottom, down), (left, right, across) = (
        _between(corners[:, axis], corners[:, axis + 2], length, crop_size) for axis, length in ((0, height), (1, width))
    )
    values = tf.reshape(canvas, [height * width, num_channels])

    def at(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
        return tf.gather(values, rows[:, :, tf.newaxis] * width + columns[:, tf.newaxis])

    down, across = down[:, :, tf.newaxis, tf.newaxis], across[:, tf.newaxis, :, tf.newaxis]
    upper = at(top, left) + (at(top, right) - at(top, left)) * across
    lower = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across
    return upper + (lower - upper) * down


def _between(first: tf.Tensor, last: tf.Tensor, length: int, count: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the cells on both sides of `count` points from `first` to `last` (`[R]`, from 0 to 1), and how far each lies behind
    the first of its cells: int32, int32 and float32 `[R, count]`."""
    steps = tf.constant([number / max(count - 1, 1) for number in range(count)], tf.float32)
    points = (first[:, tf.newaxis] + (last - first)[:, tf.newaxis] * steps) * (length - 1)
    before = tf.floor(tf.clip_by_value(points, 0.0, length - 1.0))
    cells = tf.cast(before, tf.int32)
    return cells, tf.minimum(cells + 1, length - 1), points - before


def _canvas(levels: list[tf.Tensor]) -> tuple[tf.Tensor, list[int]]:
    """Returns all levels side by side in one image, each with its last row and column repeated, and the columns where they begin.

    A point beyond the centre of the last cell takes that cell's value, as in the Model Garden.
    """
    height = int(levels[0].shape[1]) + 1
    padded, columns, column = [], [], 0
    for level in levels:
        repeated = tf.pad(level, [[0, 0], [0, 1], [0, 1], [0, 0]], mode='SYMMETRIC')
        padded.append(tf.pad(repeated, [[0, 0], [0, height - int(repeated.shape[1])], [0, 0], [0, 0]]))
        columns.append(column)
        column += int(repeated.shape[2])
    return tf.concat(padded, axis=2), columns


def _level_of(rois: tf.Tensor, min_level: int, max_level: int) -> tf.Tensor:
    """Returns int32 `[B, R]`: the index of each RoI's level, 0 for `min_level`. A box without area belongs to the first."""
    area = (rois[..., 2] - rois[..., 0]) * (rois[..., 3] - rois[..., 1])
    octaves = tf.math.log(tf.maximum(tf.sqrt(tf.maximum(area, 0.0)), 1e-6) / CANONICAL_SIZE_PX) / tf.math.log(2.0)
    level = tf.cast(tf.floor(octaves + CANONICAL_LEVEL), tf.int32)
    return tf.clip_by_value(level, min_level, max_level) - min_level
