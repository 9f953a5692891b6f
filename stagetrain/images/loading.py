"""Decoded images of a data set with their boxes and masks, by index and in any view.

    images = Images(dataset, geometry, include_difficult=False)
    image, (boxes, classes) = images.show(index, view), images.objects(index, view)

H x W pixels, G ground-truth boxes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from official.vision.ops import box_ops

from stagetrain.data import masks
from stagetrain.data.annotation import Dataset, Example
from stagetrain.data.images import orientation, upright
from stagetrain.errors import DataError
from stagetrain.images import oversampling
from stagetrain.images.geometry import Geometry, View, geometry_of, plain_view
from stagetrain.images.normalization import normalize


class Images:
    """Decoded images and boxes of a data set, by index."""

    def __init__(self, dataset: Dataset, geometry: Geometry, include_difficult: bool, *, repeat_threshold: float | None = None):
        """Stores the boxes that training sees: crowds never, difficult objects when asked.

        Args:
          dataset: the images.
          geometry: how they become inputs.
          include_difficult: whether training sees difficult objects.
          repeat_threshold: see `oversampling.repeat_factors`; None: an epoch shows each image once.

        Raises:
          DataError: an image has more boxes than `max_num_instances`.
        """
        self.dataset = dataset
        self.geometry = geometry
        self.fault: DataError | None = None
        kept = [_training_boxes(example, include_difficult, geometry.max_num_instances) for example in dataset.examples]
        self.num_boxes = np.array([len(classes) for _, classes in kept], np.int32)
        width = max(1, int(self.num_boxes.max(initial=0)))
        self.boxes = np.full([len(kept), width, 4], -1, np.float32)
        self.classes = np.full([len(kept), width], -1, np.int32)
        for index, (boxes, classes) in enumerate(kept):
            self.boxes[index, : len(boxes)] = boxes
            self.classes[index, : len(classes)] = classes
        self.repeat_factors: np.ndarray | None = None
        if repeat_threshold is not None:
            self.repeat_factors = oversampling.repeat_factors([classes for _, classes in kept], repeat_threshold)
        self._masks = [_training_masks(example, include_difficult) for example in dataset.examples]
        self.sizes = np.array([(e.height, e.width) for e in dataset.examples], np.float32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.dataset.examples)

    def decode(self, index: int) -> np.ndarray:
        """Returns one image as uint8 `[height, width, 3]`, turned upright.

        Raises:
          DataError: naming the file, when it cannot be decoded or has another size than its annotation says.
        """
        try:
            return self._decode(self.dataset.examples[index])
        except DataError as error:
            self.fault = error  # tf.data passes on the text of an exception, not its class.
            raise

    def _decode(self, example: Example) -> np.ndarray:
        try:
            data = example.read_bytes()
            image = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
        except (tf.errors.OpError, OSError) as error:
            raise DataError(
                f'{example.path}: cannot be decoded ({getattr(error, "message", error)}); replace or remove the image'
            ) from error
        image = upright(image, orientation(data))
        if image.shape[:2] != (example.height, example.width):
            raise DataError(
                f'{example.path}: {image.shape[1]} x {image.shape[0]} pixels, expected {example.width} x {example.height}'
            )
        return image

    def resized(self, index: tf.Tensor) -> tf.Tensor:
        """Returns one image float32 `[H, W, 3]`: normalised, scaled to fit, padded with zeros; the plain view without jitter."""
        return self.show(index, plain_view())

    def decoded(self, index: tf.Tensor) -> tf.Tensor:
        """Returns one image float32 `[height, width, 3]` as it is stored, normalised."""
        return normalize(tf.cast(self._pixels(index), tf.float32), self.geometry.preprocessing)

    def _pixels(self, index: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(lambda i: self.decode(int(i)), [index], tf.uint8), [None, None, 3])

    def show(self, index: tf.Tensor, view: View) -> tf.Tensor:
        """Returns one image float32 `[H, W, 3]` in any view, from the file."""
        return self.geometry.input_image(self._pixels(index), view, tf.gather(self.sizes, index))

    def objects(self, index: tf.Tensor, view: View) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ground truth of a view: boxes float32 `[G, 4]`, classes int32 `[G]`, less what the crop cut away."""
        boxes, kept = self._shown_boxes(index, view)
        return tf.gather(boxes, kept), tf.gather(tf.gather(self.classes, index), kept)

    def _shown_boxes(self, index: tf.Tensor, view: View) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns all boxes of an image in a view, and int32 `[G]`: those that the crop left something of."""
        boxes = tf.gather(self.boxes, index)[: tf.gather(self.num_boxes, index)]
        boxes = self.geometry.place_boxes(boxes, view, tf.gather(self.sizes, index))
        return boxes, box_ops.get_non_empty_box_indices(boxes)

    def masks(self, index: tf.Tensor, view: View, crop_size: int) -> tf.Tensor:
        """Returns the masks of the objects of a view, each inside its box: float32 `[G, crop_size, crop_size]` in [0, 1].

        As in the Model Garden's parser they are cut out of the stored image's masks; a mirrored view's are mirrored last.
        """
        size = tf.gather(self.sizes, index)
        _, scale, offset, _ = self.geometry.placement(view, size)
        upright, kept = self._shown_boxes(index, dataclasses.replace(view, flip=tf.constant(0)))
        stored = (upright + tf.tile(offset, [2])) / tf.tile(scale, [2])
        pixels = tf.py_function(lambda i: self._mask_pixels(int(i)), [index], tf.uint8)
        pixels = tf.gather(tf.cast(tf.ensure_shape(pixels, [None, None, None]), tf.float32), kept)[..., tf.newaxis]
        boxes = box_ops.normalize_boxes(tf.gather(stored, kept), size)
        crops = tf.image.crop_and_resize(pixels, boxes, tf.range(tf.shape(kept)[0]), [crop_size, crop_size])[..., 0]
        for axis, is_flipped in ((2, self.geometry.is_flipped(view.flip, 0)), (1, self.geometry.is_flipped(view.flip, 1))):
            if is_flipped is not None:
                crops = tf.where(is_flipped, tf.reverse(crops, [axis]), crops)
        return crops

    def _mask_pixels(self, index: int) -> np.ndarray:
        example = self.dataset.examples[index]
        return masks.pixels(self._masks[index], example.height, example.width)


def plain_images(dataset: Dataset, model: Any) -> Images:
    """Returns a data set in the plain view of a network; nothing that it shows depends on difficult objects."""
    return Images(dataset, geometry_of(model, training=False), include_difficult=True)


def _for_training(example: Example, include_difficult: bool) -> np.ndarray:
    """Returns bool `[N]`: the objects that training sees."""
    return ~example.is_crowd & (include_difficult | ~example.difficult)


def _training_masks(example: Example, include_difficult: bool) -> tuple[str, ...]:
    return example.select(_for_training(example, include_difficult)).masks or ()


def _training_boxes(example: Example, include_difficult: bool, max_num_instances: int) -> tuple[np.ndarray, np.ndarray]:
    kept = _for_training(example, include_difficult)
    if int(kept.sum()) > max_num_instances:
        raise DataError(
            f'{example.path}: {int(kept.sum())} objects, but model.parser.max_num_instances is {max_num_instances}; the rest '
            f'would be lost in silence. Set it to at least {int(kept.sum())}.'
        )
    return example.boxes_yxyx_px[kept], example.classes[kept]
