"""Which views of an image a stage draws from: a finite set or not, and a pure function of seeds.

views = Views(geometry, seed, num_fixed=None)
view = views.draw(index, at(seed, Purpose.VIEW))
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from stagetrain.images.geometry import Geometry, View
from stagetrain.images.randomness import Purpose, at


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
