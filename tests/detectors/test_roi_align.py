"""RoI features by the native kernel are those of the Model Garden's aligner."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from official.vision.modeling.layers import roi_aligner

from stagetrain.detectors.roi_align import align

pytestmark = [pytest.mark.numbers, pytest.mark.usefixtures('deterministic_ops')]


@pytest.fixture
def features():
    random = np.random.default_rng(0)
    return {str(level): tf.constant(random.normal(size=[2, 256 >> level, 256 >> level, 8]), tf.float32) for level in (3, 4, 5)}


def boxes(size_px):
    """float32 [2, 40, 4] inside a 256x256 image, some of them touching its border."""
    top_left = np.random.default_rng(1).uniform(0, 256 - size_px, size=[2, 40, 2])
    top_left[:, 0], top_left[:, 1] = 0, 256 - size_px
    return tf.constant(np.concatenate([top_left, top_left + size_px], axis=-1), tf.float32)


@pytest.mark.parametrize('size_px', [6.0, 60.0, 130.0, 250.0])
@pytest.mark.parametrize('crop_size, sample_offset', [(7, 0.5), (4, 0.0)])
def test_values_and_gradients_equal_the_model_gardens(features, size_px, crop_size, sample_offset):
    rois, levels = boxes(size_px), list(features.values())
    layer = roi_aligner.MultilevelROIAligner(crop_size=crop_size, sample_offset=sample_offset)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(levels)
        expected = layer(features, rois)
        found = align(features, rois, crop_size, sample_offset)
        losses = [tf.reduce_sum(tf.sin(values)) for values in (expected, found)]
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape == (2, 40, crop_size, crop_size, 8)
    for theirs, ours in zip(tape.gradient(losses[0], levels), tape.gradient(losses[1], levels), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_levels_follow_the_box_size(features):
    constant = {level: tf.fill(values.shape, float(level)) for level, values in features.items()}
    for size_px, level in ((56.0, 3.0), (113.0, 3.0), (230.0, 4.0)):
        assert align(constant, boxes(size_px), 7, 0.5).numpy().max() == level
