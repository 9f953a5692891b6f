"""How images of a data set are shown to a network: decoded, scaled, cropped, padded and mirrored, with their boxes and masks.

A *view* is one way to show an image: flips, with jitter a scale and a crop, and what `augment` does to it. Flips alone are a
finite set.

    images = Images(dataset, geometry, include_difficult=False)
    image, (boxes, classes) = images.show(index, view), images.objects(index, view)

H x W pixels, G ground-truth boxes.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import tensorflow as tf
from official.vision.ops import box_ops

from stagetrain.data import masks
from stagetrain.data.annotation import Dataset, Example
from stagetrain.data.images import orientation, upright
from stagetrain.detectors.backbones import normalize
from stagetrain.errors import DataError
from stagetrain.training import oversampling
from stagetrain.training.augment import Augmentation
from stagetrain.training.randomness import Purpose, at


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How images become network inputs; from the model's options."""

    height: int
    width: int
    stride: int
    """Inputs are padded to a multiple of this."""
    preprocessing: str
    """See `detectors.backbones.normalize`."""
    flip_horizontal: bool
    flip_vertical: bool
    scale_min: float
    scale_max: float
    max_num_instances: int
    augmentation: Augmentation | None = None
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
class Views:
    """The views that a stage draws from; a pure function of seeds."""

    geometry: Geometry
    seed: tf.Tensor
    """The stage's seed, int32 `[2]`; decides what fixed random views show."""
    num_fixed: int | None
    """So many random views of each image are fixed; None: mirrored forms only, or without end when there is more."""

    @property
    def count(self) -> int | None:
        """Number of views of an image, or None when they are no finite set."""
        if self.num_fixed is not None:
            return self.num_fixed
        return self.geometry.num_flips if self.geometry.only_flips else None

    def draw(self, index: tf.Tensor, seed: tf.Tensor) -> View:
        """Returns the view of an image that a seed int32 `[2]` draws."""
        if self.count is None:
            return self._random(seed)
        number = tf.cast(tf.floor(tf.random.stateless_uniform([], seed) * self.count), tf.int32)
        return self.numbered(index, number)

    def numbered(self, index: tf.Tensor, number: tf.Tensor) -> View:
        """Returns one of the finite views of an image."""
        if self.num_fixed is None:
            return View(number, number, tf.constant(1.0), tf.zeros([2]))
        fixed = self._random(at(self.seed, Purpose.FIXED_VIEWS, index, number))
        return dataclasses.replace(fixed, number=number)

    def _random(self, seed: tf.Tensor) -> View:
        numbers = tf.random.stateless_uniform([4], seed)
        flip = tf.cast(tf.floor(numbers[0] * self.geometry.num_flips), tf.int32)
        scale = self.geometry.scale_min + (self.geometry.scale_max - self.geometry.scale_min) * numbers[1]
        return View(tf.constant(0), flip, scale, numbers[2:4], at(seed, Purpose.AUGMENTATION))


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
        pixels = self._pixels(index)
        if self.geometry.augmentation is not None and view.augmentation is not None:
            pixels = self.geometry.augmentation.image(pixels, view.augmentation)
        image = normalize(tf.cast(pixels, tf.float32), self.geometry.preprocessing)
        return self.render(image, view, tf.gather(self.sizes, index))

    def render(self, image: tf.Tensor, view: View, size: tf.Tensor) -> tf.Tensor:
        """Scales, crops, pads and mirrors a normalised image float32 `[height, width, 3]`."""
        scaled, _, offset, shape = self.placement(view, size)
        image = tf.image.resize(image, tf.cast(scaled, tf.int32))
        offset, shape = tf.cast(offset, tf.int32), tf.cast(shape, tf.int32)
        image = image[offset[0] : offset[0] + shape[0], offset[1] : offset[1] + shape[1]]
        padded = self.geometry.padded
        image = tf.image.pad_to_bounding_box(image, 0, 0, padded[0], padded[1])
        return self.mirror(image, view.flip, shape)

    def mirror(self, image: tf.Tensor, flip: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Mirrors what lies inside the padding of an image float32 `[H, W, 3]`; `shape` int32 `[2]` is its size."""
        for axis, is_flipped in ((1, self._is_flipped(flip, 0)), (0, self._is_flipped(flip, 1))):
            if is_flipped is None:
                continue
            padding = self.geometry.padded[axis] - shape[axis]
            mirrored = tf.roll(tf.reverse(image, [axis]), shift=-padding, axis=axis)
            image = tf.where(is_flipped, mirrored, image)
        return tf.ensure_shape(image, [*self.geometry.padded, 3])

    def _is_flipped(self, flip: tf.Tensor, direction: int) -> tf.Tensor | None:
        """Returns a bool scalar, or None when the geometry never flips in this direction (0 horizontal, 1 vertical)."""
        if not (self.geometry.flip_horizontal, self.geometry.flip_vertical)[direction]:
            return None
        table = tf.constant([self.geometry.flips_of(view)[direction] for view in range(self.geometry.num_flips)])
        return tf.gather(table, flip)

    def placement(self, view: View, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the scaled size, the scale, the crop's offset and the shown size, float32 `[2]` each (height, width).

        The arithmetic is that of the Model Garden's `resize_and_crop_image`, with two differences: `Geometry.shorter_side`, and a
        scaled side is at least one pixel. 4000 x 3 pixels in an input of 512 would be 512 x 0, which nothing can be resized to.
        """
        wanted = tf.constant([self.geometry.height, self.geometry.width], tf.float32)
        target = tf.round(view.scale * wanted) if self.geometry.has_jitter else wanted
        ratio = tf.reduce_min(target / size)
        if self.geometry.shorter_side is not None:
            ratio = tf.minimum(ratio, view.scale * self.geometry.shorter_side / tf.reduce_min(size))
        scaled = tf.maximum(tf.round(size * ratio), 1.0)
        offset = tf.floor(tf.maximum(scaled - wanted, 0.0) * view.crop)
        return scaled, scaled / size, offset, tf.minimum(scaled - offset, wanted)

    def place_boxes(self, boxes: tf.Tensor, view: View, size: tf.Tensor) -> tf.Tensor:
        """Carries boxes float32 `[G, 4]` yxyx from pixels of the stored image into the view's, clipped to what is shown."""
        if self.geometry.augmentation is not None and view.augmentation is not None:
            boxes = self.geometry.augmentation.boxes(boxes, size, view.augmentation)
        _, scale, offset, shape = self.placement(view, size)
        boxes = boxes * tf.tile(scale, [2]) - tf.tile(offset, [2])
        boxes = box_ops.clip_boxes(boxes, shape)
        return self.mirror_boxes(boxes, view.flip, shape)

    def mirror_boxes(self, boxes: tf.Tensor, flip: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """Mirrors boxes float32 `[G, 4]` yxyx inside an area of `shape` float32 `[2]`."""
        for axis, is_flipped in ((1, self._is_flipped(flip, 0)), (0, self._is_flipped(flip, 1))):
            if is_flipped is None:
                continue
            low, high = boxes[:, axis], boxes[:, axis + 2]
            columns = [boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]]
            columns[axis], columns[axis + 2] = shape[axis] - high, shape[axis] - low
            boxes = tf.where(is_flipped, tf.stack(columns, axis=1), boxes)
        return boxes

    def shown_size(self, view: View, size: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[2]`: height and width of the scaled image inside its padding."""
        return self.placement(view, size)[3]

    def objects(self, index: tf.Tensor, view: View) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the ground truth of a view: boxes float32 `[G, 4]`, classes int32 `[G]`, less what the crop cut away."""
        boxes, kept = self._shown_boxes(index, view)
        return tf.gather(boxes, kept), tf.gather(tf.gather(self.classes, index), kept)

    def _shown_boxes(self, index: tf.Tensor, view: View) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns all boxes of an image in a view, and int32 `[G]`: those that the crop left something of."""
        boxes = tf.gather(self.boxes, index)[: tf.gather(self.num_boxes, index)]
        boxes = self.place_boxes(boxes, view, tf.gather(self.sizes, index))
        return boxes, box_ops.get_non_empty_box_indices(boxes)

    def masks(self, index: tf.Tensor, view: View, crop_size: int) -> tf.Tensor:
        """Returns the masks of the objects of a view, each inside its box: float32 `[G, crop_size, crop_size]` in [0, 1].

        As in the Model Garden's parser they are cut out of the stored image's masks; a mirrored view's are mirrored last.
        """
        size = tf.gather(self.sizes, index)
        _, scale, offset, _ = self.placement(view, size)
        upright, kept = self._shown_boxes(index, dataclasses.replace(view, flip=tf.constant(0)))
        stored = (upright + tf.tile(offset, [2])) / tf.tile(scale, [2])
        pixels = tf.py_function(lambda i: self._mask_pixels(int(i)), [index], tf.uint8)
        pixels = tf.gather(tf.cast(tf.ensure_shape(pixels, [None, None, None]), tf.float32), kept)[..., tf.newaxis]
        boxes = box_ops.normalize_boxes(tf.gather(stored, kept), size)
        crops = tf.image.crop_and_resize(pixels, boxes, tf.range(tf.shape(kept)[0]), [crop_size, crop_size])[..., 0]
        for axis, is_flipped in ((2, self._is_flipped(view.flip, 0)), (1, self._is_flipped(view.flip, 1))):
            if is_flipped is not None:
                crops = tf.where(is_flipped, tf.reverse(crops, [axis]), crops)
        return crops

    def _mask_pixels(self, index: int) -> np.ndarray:
        example = self.dataset.examples[index]
        return masks.pixels(self._masks[index], example.height, example.width)


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
