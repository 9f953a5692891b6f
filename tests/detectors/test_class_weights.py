"""`model.losses.class_weights`: every class's share of the classification loss is multiplied by its weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from stagetrain.detectors import roi_sampler

pytestmark = pytest.mark.numbers


def class_loss(detector: Any, weights: Sequence[float] | None) -> float:
    """Returns `frcnn_class` of four RoIs, one of the background and one or two of each class, on features of noise."""
    losses = detector.model.losses.model_copy(update={'class_weights': weights})
    detector.model = detector.model.model_copy(update={'losses': losses})
    random = np.random.default_rng(0)
    features = {
        str(level): tf.constant(random.normal(size=[1, 128 >> level, 128 >> level, 16]), tf.float32) for level in (3, 4, 5)
    }
    rois = roi_sampler.Rois(
        boxes=tf.constant([[[8, 8, 40, 40], [30, 60, 90, 120], [70, 10, 120, 50], [0, 0, 128, 128]]], tf.float32),
        classes=tf.constant([[0, 1, 2, 1]]),
        encoded=tf.zeros([1, 4, 4]),
        matches=tf.constant([[-1, 0, 1, 0]]),
    )
    return float(detector.head_losses(features, rois, {}, ['frcnn_class'])['frcnn_class'])


def test_the_loss_is_the_sum_of_the_classes_shares_by_weight(detector: Any) -> None:
    shares = [class_loss(detector, weights) for weights in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])]
    assert min(shares) > 0
    np.testing.assert_allclose(class_loss(detector, None), sum(shares), rtol=1e-5)
    np.testing.assert_allclose(class_loss(detector, [0.5, 3.0, 1.0]), np.dot(shares, [0.5, 3.0, 1.0]), rtol=1e-5)
