"""Proposals by the native kernel are those of the Model Garden's padded suppression."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from official.vision.modeling.layers import roi_generator

from stagetrain.detectors.detector import Proposing
from stagetrain.detectors.suppression import multilevel_proposals

pytestmark = pytest.mark.numbers


@pytest.mark.parametrize('num_proposals, min_size', [(50, 0.0), (300, 0.0), (300, 12.0)])
def test_equals_the_padded_form(detector, num_proposals, min_size):
    random = np.random.default_rng(1)
    anchors = detector.anchor_boxes
    logits = {k: tf.constant(random.normal(size=[2, *a.shape[:2], a.shape[2] // 4]), tf.float32) for k, a in anchors.items()}
    boxes = {k: tf.constant(random.normal(size=[2, *a.shape]) * 0.5, tf.float32) for k, a in anchors.items()}
    shape = tf.constant([[128.0, 128.0], [96.0, 120.0]])
    layer = roi_generator.MultilevelROIGenerator(
        test_pre_nms_top_k=200, test_num_proposals=num_proposals, test_pre_nms_min_size_threshold=min_size
    )
    tiled = {level: tf.tile(boxes[tf.newaxis], [2, 1, 1, 1]) for level, boxes in anchors.items()}
    expected, expected_scores = layer(boxes, logits, tiled, shape, training=False)
    found, scores = multilevel_proposals(boxes, logits, anchors, shape, Proposing(200, 0.7, num_proposals), min_size_px=min_size)
    for image in range(2):
        count = int((expected_scores[image].numpy() > 0).sum())
        assert int((scores[image].numpy() > 0).sum()) == count > 40
        np.testing.assert_allclose(scores[image, :count], expected_scores[image, :count], rtol=1e-6)
        np.testing.assert_allclose(found[image, :count], expected[image, :count], rtol=1e-5, atol=1e-4)
