"""Exponential moving averages of variables: they begin as the variables themselves, and a swap gives every bit back.

The Model Garden's own begin at zero and are swapped by adding and subtracting, which rounds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf

from stagetrain.config import schema


class Averages:
    """Averages of what a stage trains."""

    def __init__(self, variables: Sequence[tf.Variable], settings: schema.Ema):
        """Starts from the present values of `variables`."""
        self._variables = tuple(variables)
        self._settings = settings
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.shadows = [tf.Variable(variable.read_value(), trainable=False) for variable in variables]

    def trackable(self) -> tf.train.Checkpoint:
        """Returns what a checkpoint holds of them; the variables themselves are not in it, for they keep their own place."""
        return tf.train.Checkpoint(shadows=self.shadows, count=self.count)

    def update(self) -> None:
        """Takes the present values in; part of a step's graph."""
        decay = tf.constant(self._settings.average_decay, tf.float32)
        if self._settings.dynamic_decay:
            done = tf.cast(self.count, tf.float32)
            decay = tf.minimum(decay, (1.0 + done) / (10.0 + done))
        for shadow, variable in zip(self.shadows, self._variables, strict=True):
            shadow.assign_sub((shadow - variable) * tf.cast(1.0 - decay, shadow.dtype))
        self.count.assign_add(1)

    @contextlib.contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Has the variables hold their averages; afterwards they hold what they held before, bit for bit."""
        weights = [tf.identity(variable.read_value()) for variable in self._variables]
        for variable, shadow in zip(self._variables, self.shadows, strict=True):
            variable.assign(shadow)
        try:
            yield
        finally:
            for variable, value in zip(self._variables, weights, strict=True):
                variable.assign(value)
