"""Whether two sets of detections are the same, whatever the kernels: detections of nearly equal score have no order.

    assert_same_detections(detector.detect(batch), of_model_garden(model(images, training=False)))

Which of two scores that differ in their last bits is the larger one depends on the processor's kernels, so places say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.detectors.detector import BatchDetections

PIXELS = 1e-3
SCORE = 1e-6


def of_model_garden(outputs: Mapping[str, Any]) -> BatchDetections:
    """Returns what a model of the Model Garden found as `BatchDetections`."""
    parts = (outputs[f'detection_{part}'] for part in ('boxes', 'scores', 'classes'))
    return BatchDetections(*parts, outputs['num_detections'])


def assert_same_detections(
    found: BatchDetections, expected: BatchDetections, *, pixels: float = PIXELS, score: float = SCORE
) -> None:
    """Fails unless each detection of an image has a twin of its own in the other set: class, box and score."""
    np.testing.assert_array_equal(found.num_valid, expected.num_valid)
    for image, count in enumerate(found.num_valid.numpy()):
        left = list(range(count))
        for number in range(count):
            one = _one(found, image, number)
            twins = [other for other in left if _are_twins(one, _one(expected, image, other), pixels, score)]
            assert twins, f'image {image}: {one} is in one set and not in the other'
            left.remove(twins[0])


def _one(detections: BatchDetections, image: int, number: int) -> tuple[int, np.ndarray, float]:
    """Returns class, box and score of one detection."""
    parts: tuple[tf.Tensor, ...] = (detections.classes, detections.boxes_yxyx_px, detections.scores)
    label, box, score = (np.asarray(part)[image, number] for part in parts)
    return int(label), box, float(score)


def _are_twins(one: tuple[int, np.ndarray, float], other: tuple[int, np.ndarray, float], pixels: float, score: float) -> bool:
    return one[0] == other[0] and bool(np.abs(one[1] - other[1]).max() < pixels) and abs(one[2] - other[2]) < score
