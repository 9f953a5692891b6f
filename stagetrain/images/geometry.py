"""What happens to a picture and its boxes on the way into a network: scaled, cropped, padded, mirrored. No data set is needed.

    geometry = geometry_of(model, training=True)
    image, boxes = geometry.input_image(pixels, plain_view(), size), geometry.place_boxes(boxes, plain_view(), size)

A *view* is one way to show an image: flips, with jitter a scale and a crop, and what `augment` does to it. All can be traced.

H x W pixels of the network's input, G boxes.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf
from official.vision.ops import box_ops

from stagetrain.config import specs
from stagetrain.config.detector_options import of_detector
from stagetrain.config.options import NetworkOptions
from stagetrain.images import augment
from stagetrain.images.augment import Augmenter
from stagetrain.images.normalization import normalize

NO_LIMIT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class View:
    """One way to show an image; scalars unless said otherwise."""

    number: tf.Tensor
    """int32: which of the finite views this is; 0 where views are no finite set."""
    flip: tf.Tensor
    """int32, a flip view's number."""
    scale: tf.Tensor
    """float32, relative to the size that fits the input."""
    crop: tf.Tensor
    """float32 `[2]` in [0, 1): where the crop lies in what is too large, vertically and horizontally."""
    augmentation: tf.Tensor | None = None
    """int32 `[2]`: the seed of what `Geometry.augmentation` does; None: nothing."""


def plain_view() -> View:
    """Returns the view that evaluation shows: not mirrored, scaled to fit."""
    return View(tf.constant(0), tf.constant(0), tf.constant(1.0), tf.zeros([2]))


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How images become network inputs; from the model's options."""

    height: int
    width: int
    stride: int
    """Inputs are padded to a multiple of this."""
    preprocessing: str
    """See `images.normalization.normalize`."""
    flip_horizontal: bool
    flip_vertical: bool
    scale_min: float
    scale_max: float
    max_num_instances: int
    augmentation: Augmenter | None = None
    """What happens to the stored image before it is scaled."""
    shorter_side: int | None = None
    """Pixels that the shorter side is scaled to, as far as the longer one then fits; None: scaled to fit."""

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return (math.ceil(self.height / self.stride) * self.stride, math.ceil(self.width / self.stride) * self.stride)

    @property
    def has_jitter(self) -> bool:
        """Whether views differ in scale and crop."""
        return not (self.scale_min == self.scale_max == 1.0)

    @property
    def only_flips(self) -> bool:
        """Whether views are mirrored forms of the image and nothing else, and so a finite set."""
        return not self.has_jitter and self.augmentation is None

    @property
    def num_flips(self) -> int:
        """Number of mirrored forms of an image, the plain one included: 1, 2 or 4."""
        return (1 + self.flip_horizontal) * (1 + self.flip_vertical)

    def flips_of(self, view: int) -> tuple[bool, bool]:
        """Returns (horizontal, vertical) of a flip view's number; 0 is the plain image."""
        if not self.flip_horizontal:
            return False, bool(view)
        return bool(view & 1), bool(view >> 1)

    def input_image(self, pixels: tf.Tensor, view: View, size: tf.Tensor) -> tf.Tensor:
        """Returns the network's input float32 `[H, W, 3]`, of a picture uint8 `[height, width, 3]` of `size` in a view."""
        if self.augmentation is not None and view.augmentation is not None:
            pixels = self.augmentation.image(pixels, view.augmentation)
        return self.render(normalize(tf.cast(pixels, tf.float32), self.preprocessing), view, size)

    def plain_input(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns what a network reads of a picture uint8 `[height, width, 3]` in evaluation.

        Returns:
          `image` float32 `[H, W, 3]` and `image_shape` float32 `[2]`, its height and width inside the padding.
        """
        size = tf.cast(tf.shape(pixels)[:2], tf.float32)
        view = plain_view()
        return {'image': self.input_image(pixels, view, size), 'image_shape': self.shown_size(view, size)}

    def render(self, image: tf.Tensor, view: View, size: tf.Tensor) -> tf.Tensor:
        """Scales, crops, pads and mirrors a normalised image float32 `[height, width, 3]`."""
        scaled, _, offset, shape = self.placement(view, size)
        image = tf.image.resize(image, tf.cast(scaled, tf.int32))
        offset, shape = tf.cast(offset, tf.int32), tf.cast(shape, tf.int32)
        image = image[offset[0] : offset[0] + shape[0], offset[1] : offset[1] + shape[1]]
        padded = self.padded
        image = tf.image.pad_to_bounding_box(image, 0, 0, padded[0], padded[1])
        return self.mirror(image, view.flip, shape)

    def placement(self, view: View, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the scaled size, the scale, the crop's offset and the shown size, float32 `[2]` each (height, width).

        The arithmetic is that of the Model Garden's `resize_and_crop_image`, with two differences: `shorter_side`, and a
        scaled side is at least one pixel. 4000 x 3 pixels in an input of 512 would be 512 x 0, which nothing can be resized to.
        """
        wanted = tf.constant([self.height, self.width], tf.float32)
        target = tf.round(view.scale * wanted) if self.has_jitter else wanted
        ratio = tf.reduce_min(target / size)
        if self.shorter_side is not None:
            ratio = tf.minimum(ratio, view.scale * self.shorter_side / tf.reduce_min(size))
        scaled = tf.maximum(tf.round(size * ratio), 1.0)
        offset = tf.floor(tf.maximum(scaled - wanted, 0.0) * view.crop)
        return scaled, scaled / size, offset, tf.minimum(scaled - offset, wanted)

    def shown_size(self, view: View, size: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[2]`: height and width of the scaled image inside its padding."""
        return self.placement(view, size)[3]

    def place_boxes(self, boxes: tf.Tensor, view: View, size: tf.Tensor) -> tf.Tensor:
        """Carries boxes float32 `[G, 4]` yxyx from pixels of the stored image into the view's, clipped to what is shown."""
        if self.augmentation is not None and view.augmentation is not None:
            boxes = self.augmentation.boxes(boxes, size, view.augmentation)
        _, scale, offset, shape = self.placement(view, size)
        boxes = boxes * tf.tile(scale, [2]) - tf.tile(offset, [2])
        boxes = box_ops.clip_boxes(boxes, shape)
        return self.mirror_boxes(boxes, view.flip, shape)

    def mirror(self, image: tf.Tensor, flip: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Mirrors what lies inside the padding of an image float32 `[H, W, 3]`; `shape` int32 `[2]` is its size."""
        for axis, is_flipped in ((1, self.is_flipped(flip, 0)), (0, self.is_flipped(flip, 1))):
            if is_flipped is None:
                continue
            padding = self.padded[axis] - shape[axis]
            mirrored = tf.roll(tf.reverse(image, [axis]), shift=-padding, axis=axis)
            image = tf.where(is_flipped, mirrored, image)
        return image if image.shape == (*self.padded, 3) else tf.ensure_shape(image, [*self.padded, 3])

    def mirror_boxes(self, boxes: tf.Tensor, flip: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Mirrors boxes float32 `[G, 4]` yxyx inside an area of `shape` float32 `[2]`."""
        for axis, is_flipped in ((1, self.is_flipped(flip, 0)), (0, self.is_flipped(flip, 1))):
            if is_flipped is None:
                continue
            low, high = boxes[:, axis], boxes[:, axis + 2]
            columns = [boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]]
            columns[axis], columns[axis + 2] = shape[axis] - high, shape[axis] - low
            boxes = tf.where(is_flipped, tf.stack(columns, axis=1), boxes)
        return boxes

    def is_flipped(self, flip: tf.Tensor, direction: int) -> tf.Tensor | None:
        """Returns a bool scalar, or None when the geometry never flips in this direction (0 horizontal, 1 vertical)."""
        if not (self.flip_horizontal, self.flip_vertical)[direction]:
            return None
        table = tf.constant([self.flips_of(view)[direction] for view in range(self.num_flips)])
        return tf.gather(table, flip)


def geometry_of(network: NetworkOptions, training: bool) -> Geometry:
    """Returns how images become inputs of a network, from its options; without views when not training."""
    if not specs.spec_of(network).reads_images:  # It takes images as they are: nothing is scaled to fit.
        return Geometry(1, 1, 1, specs.MODEL_GARDEN_PREPROCESSING, False, False, 1.0, 1.0, NO_LIMIT)
    model = of_detector(network)
    parser = model.parser
    return Geometry(
        height=model.input_size[0],
        width=model.input_size[1],
        stride=2**model.max_level,
        preprocessing=specs.preprocessing(str(model.backbone.type)),
        flip_horizontal=training and parser.aug_rand_hflip,
        flip_vertical=training and parser.aug_rand_vflip,
        scale_min=parser.aug_scale_min if training else 1.0,
        scale_max=parser.aug_scale_max if training else 1.0,
        max_num_instances=parser.max_num_instances if training else NO_LIMIT,
        augmentation=augment.of_parser(parser) if training else None,
        shorter_side=getattr(parser, 'shorter_side', None),
    )
