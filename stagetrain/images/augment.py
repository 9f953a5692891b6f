"""Colour jitter, AutoAugment and RandAugment, drawn without state.

    augmentation = of_parser(model.parser)
    image = augmentation.image(pixels, seed)
    boxes = augmentation.boxes(boxes, size, seed)       # the same seed: where `image` moved them

The Model Garden's own classes draw from stateful generators: a resumed run would see other images, and deterministic ops refuse
them. So its tables of policies and its operations on images are taken as they are (`official.vision.ops.augment`), and what is
drawn (policy, whether an operation is applied, direction, place of a cutout) is drawn here, seeded by (seed, stage, step, image).

We differ in three points. Operations that move the image always move its boxes too (the Model Garden's `Rotate` leaves them
behind, its `Rotate_BBox` does not). Boxes are moved as numbers, not rounded to pixels. `TranslateY_Only_BBoxes`, which moves what
is inside single boxes, is left out of `detection_v0`.

G boxes; boxes and sizes are in pixels of the stored image.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf
from official.vision.ops import augment

from stagetrain.config import augmentation as options
from stagetrain.images.randomness import Purpose, at

MAX_LEVEL = 10.0
"""The Model Garden's scale of strengths; at the end of it stand `MAX_DEGREES` and `MAX_SHEAR`."""
MAX_DEGREES = 30.0
MAX_SHEAR = 0.3
GRAY = [128, 128, 128]
"""What the Model Garden fills empty places with."""
LEFT_OUT = ('TranslateY_Only_BBoxes',)
_GEOMETRIC = ('Rotate', 'ShearX', 'ShearY', 'TranslateX', 'TranslateY')


@dataclasses.dataclass(frozen=True)
class ImageOperation:
    """An operation of the Model Garden (`augment.NAME_TO_FUNC`, without `_BBox`), its chance and its strength from 0 to 10."""

    name: str
    probability: float
    level: float


Policy = tuple[ImageOperation, ...]
Apply = Callable[[ImageOperation, tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Augmenter:
    """What may happen to an image: a colour jitter, and so many rounds in each of which one of the policies is drawn."""

    color_jitter: float = 0.0
    num_rounds: int = 0
    policies: tuple[Policy, ...] = ()
    cutout_const: float = 0.0
    translate_const: float = 0.0

    def image(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns an image uint8 `[height, width, 3]` as a seed int32 `[2]` changes it."""
        if self.color_jitter:
            pixels = self._jittered(pixels, at(seed, Purpose.COLOR))
        return tf.ensure_shape(self._fold(pixels, seed, self._change_image), [None, None, 3])

    def boxes(self, boxes: tf.Tensor, size: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns boxes float32 `[G, 4]` yxyx where the image of `size` float32 `[2]` has them after `image` with this seed; one
        that left the image has no area."""
        moved = self._fold(boxes, seed, functools.partial(self._move_boxes, size))
        return tf.ensure_shape(moved, [None, 4])

    def _fold(self, state: tf.Tensor, seed: tf.Tensor, apply: Apply) -> tf.Tensor:
        longest = max((len(policy) for policy in self.policies), default=0)
        for number in range(self.num_rounds):
            draws = tf.random.stateless_uniform([1 + longest, 4], at(seed, Purpose.POLICY, number))
            chosen = tf.cast(draws[0, 0] * len(self.policies), tf.int32)
            branches = [functools.partial(_apply_policy, policy, draws[1:], state, apply) for policy in self.policies]
            state = tf.switch_case(chosen, branches)
        return state

    def _jittered(self, pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """As the Model Garden's `preprocess_ops.color_jitter`: brightness, contrast, saturation."""
        least = max(0.0, 1.0 - self.color_jitter)
        factors = tf.random.stateless_uniform([3], seed, least, 1.0 + self.color_jitter)
        pixels = _blend(tf.zeros_like(pixels), pixels, factors[0])
        pixels = augment.contrast(pixels, factors[1])
        return _blend(augment.grayscale(pixels), pixels, factors[2])

    def _change_image(self, operation: ImageOperation, draw: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
        if operation.name == 'Cutout':
            return _cut_out(pixels, operation.level / MAX_LEVEL * self.cutout_const, draw[2:4])
        function = augment.NAME_TO_FUNC[operation.name]
        if operation.name in _GEOMETRIC:
            return function(pixels, self._extent(operation, draw), GRAY)
        return function(pixels, *augment.level_to_arg(self.cutout_const, self.translate_const)[operation.name](operation.level))

    def _move_boxes(self, size: tf.Tensor, operation: ImageOperation, draw: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        if operation.name not in _GEOMETRIC:
            return boxes
        extent = self._extent(operation, draw)
        corners = tf.gather(boxes, [[0, 1], [0, 3], [2, 1], [2, 3]], axis=1)  # [G, 4, (y, x)]
        y, x = corners[..., 0], corners[..., 1]
        y, x = _moved(operation.name, extent, y, x, size)
        low = tf.stack([tf.reduce_min(y, axis=1), tf.reduce_min(x, axis=1)], axis=1)
        high = tf.stack([tf.reduce_max(y, axis=1), tf.reduce_max(x, axis=1)], axis=1)
        return tf.concat([tf.clip_by_value(low, 0.0, size), tf.clip_by_value(high, 0.0, size)], axis=1)

    def _extent(self, operation: ImageOperation, draw: tf.Tensor) -> tf.Tensor:
        """Returns how far an operation moves the image, in degrees, as a slope or in pixels; either way with equal chances."""
        most = {'Rotate': MAX_DEGREES, 'ShearX': MAX_SHEAR, 'ShearY': MAX_SHEAR}.get(operation.name, self.translate_const)
        return tf.where(draw[1] < 0.5, -1.0, 1.0) * (operation.level / MAX_LEVEL * most)


def of_parser(parser: object) -> Augmenter | None:
    """Returns what a detector's `parser` says of training images, or None when it says nothing."""
    if not isinstance(parser, options.AugmentedParser) or not options.augments(parser):
        return None
    if parser.aug_type is None:
        return Augmenter(parser.color_jitter)
    chosen: options.AutoAugment | options.RandAugment = parser.aug_type.chosen
    num_rounds, policies = _learned(chosen) if isinstance(chosen, options.AutoAugment) else _drawn(chosen)
    return Augmenter(parser.color_jitter, num_rounds, policies, chosen.cutout_const, chosen.translate_const)


def _learned(settings: options.AutoAugment) -> tuple[int, tuple[Policy, ...]]:
    """Returns the rounds, and the policies of a learned table that are drawn from in each."""
    return 1, tuple(_policy(steps) for steps in augment.AutoAugment(settings.augmentation_name).policies)


def _drawn(settings: options.RandAugment) -> tuple[int, tuple[Policy, ...]]:
    """Returns the rounds, and the policies of one operation that are drawn from in each."""
    chance = 1.0 if settings.prob_to_apply is None else settings.prob_to_apply
    names = augment.RandAugment(exclude_ops=settings.exclude_ops).available_ops
    # The Model Garden draws 'nothing' as often as any operation.
    return settings.num_layers, (*(_policy([(name, chance, settings.magnitude)]) for name in names), ())


def _policy(steps: Sequence[tuple[str, float, float]]) -> Policy:
    return tuple(
        ImageOperation(name.removesuffix('_BBox'), float(probability), float(level))
        for name, probability, level in steps
        if name not in LEFT_OUT
    )


def _apply_policy(policy: Policy, draws: tf.Tensor, state: tf.Tensor, apply: Apply) -> tf.Tensor:
    for number, operation in enumerate(policy):
        draw = draws[number]
        changed = functools.partial(apply, operation, draw, state)
        state = tf.cond(draw[0] < operation.probability, changed, functools.partial(tf.identity, state))
    return tf.identity(state)


def _blend(plain: tf.Tensor, pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """As `augment.blend`, which asks of its factor in Python and so takes no tensor."""
    start = tf.cast(plain, tf.float32)
    return tf.cast(tf.clip_by_value(start + factor * (tf.cast(pixels, tf.float32) - start), 0.0, 255.0), tf.uint8)


def _cut_out(pixels: tf.Tensor, half_side: float, place: tf.Tensor) -> tf.Tensor:
    """Paints a square gray whose centre lies at `place`, float32 `[2]` in [0, 1) of height and width."""
    size = tf.shape(pixels)[:2]
    centre = tf.cast(place * tf.cast(size, tf.float32), tf.int32)
    rows = tf.abs(tf.range(size[0]) - centre[0]) < int(half_side)
    columns = tf.abs(tf.range(size[1]) - centre[1]) < int(half_side)
    inside = tf.logical_and(rows[:, tf.newaxis], columns)[..., tf.newaxis]
    return tf.where(inside, tf.constant(GRAY, tf.uint8), pixels)


def _moved(name: str, extent: tf.Tensor, y: tf.Tensor, x: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where points of an image go, in the directions in which the Model Garden's operations move it."""
    if name == 'Rotate':
        angle = extent * (math.pi / 180.0)
        y, x = y - size[0] / 2, x - size[1] / 2
        turned_y, turned_x = y * tf.cos(angle) - x * tf.sin(angle), x * tf.cos(angle) + y * tf.sin(angle)
        return turned_y + size[0] / 2, turned_x + size[1] / 2
    return {
        'ShearX': lambda: (y, x - extent * y),
        'ShearY': lambda: (y - extent * x, x),
        'TranslateX': lambda: (y, x - extent),
        'TranslateY': lambda: (y - extent, x),
    }[name]()
