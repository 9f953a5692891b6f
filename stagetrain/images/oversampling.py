"""Oversampling of rare classes: repeat-factor sampling (Gupta et al. 2019, "LVIS", arXiv 1908.03195, section 5.1).

    factors = repeat_factors([np.array([1, 1, 2]), np.array([1])], threshold=1.0)       # [sqrt(2), 1]
    order = epoch(factors, seed)        # indices of images, some of them repeatedly

A fractional factor is rounded up with that chance. LVIS draws this anew in each epoch; here it is drawn once for a stage, so that
which image a step sees stays a function of its position.

I images, N objects of an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from stagetrain.images.randomness import Purpose, at


def repeat_factors(classes: Sequence[np.ndarray], threshold: float) -> np.ndarray:
    """Returns how often each image is to be shown, float64 `[I]`, at least 1.

    A class that a share f of the images holds has the factor max(1, sqrt(threshold / f)); an image has that of its rarest class.

    Args:
      classes: for each image the classes of its objects, int32 `[N]`.
      threshold: the share of images below which a class is rare.
    """
    held = [np.unique(of_image) for of_image in classes]
    found, counts = np.unique(np.concatenate([np.zeros(0, np.int32), *held]), return_counts=True)
    of_class = dict(zip(found.tolist(), np.maximum(1.0, np.sqrt(threshold * len(classes) / counts)).tolist(), strict=True))
    return np.array([max((of_class[number] for number in of_image.tolist()), default=1.0) for of_image in held])


def epoch(factors: np.ndarray, seed: tf.Tensor) -> tf.Tensor:
    """Returns the images of an epoch, int64: each as often as its factor says, in their order.

    Args:
      factors: as `repeat_factors` returns them.
      seed: the stage's seed, int32 `[2]`; decides how fractions are rounded.
    """
    chances = tf.random.stateless_uniform([len(factors)], at(seed, Purpose.REPEATS)).numpy()
    counts = np.floor(factors) + (chances < factors % 1)
    return tf.constant(np.repeat(np.arange(len(factors)), counts.astype(int)), tf.int64)
