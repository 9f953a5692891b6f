"""Non-maximum suppression on the device's own kernel.

The Model Garden's padded suppression is written for TPUs: fixed shapes, iterated to convergence. TensorFlow's CPU kernel visits
each box once. Both give the same boxes; `tests/detectors/test_suppression.py` compares them.

B images, L levels, N boxes (of a level, or of all), C classes, K boxes kept.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from official.vision.ops import box_ops

from stagetrain.detectors.detector import BatchDetections, BatchProposals, Proposing
from stagetrain.devices import setup

_BELOW_EVERY_SCORE, _LOWEST = -1.0, -2.0


def multilevel_proposals(
    boxes: Mapping[str, tf.Tensor],
    logits: Mapping[str, tf.Tensor],
    anchors: Mapping[str, tf.Tensor],
    image_shape: tf.Tensor,
    how: Proposing,
    *,
    min_score: float = 0.0,
    min_size_px: float = 0.0,
) -> BatchProposals:
    """Turns the RPN's outputs into proposals, as `MultilevelROIGenerator` does, with one native kernel for all levels.

    Suppression works within a level; the best of all levels are kept. Levels take the place of classes in
    `tf.image.combined_non_max_suppression`, which runs images and levels in parallel.

    Args:
      boxes: level -> float32 `[B, h, w, A * 4]`, encoded (ymin, xmin, ymax, xmax as dy, dx, dh, dw).
      logits: level -> float32 `[B, h, w, A]`.
      anchors: level -> float32 `[h, w, A * 4]`, yxyx in pixels of the scaled image.
      image_shape: float32 `[B, 2]`, height and width of the scaled image inside its padding.
      how: what enters suppression, what it removes, and how many boxes (K) are kept.
      min_score: probability below which a box does not enter.
      min_size_px: side below which a box does not enter, in pixels of the scaled image.
    """
    level_boxes, level_scores = [], []
    shape = tf.expand_dims(image_shape, axis=1)
    for level in sorted(logits):
        count = int(logits[level].shape[1]) * int(logits[level].shape[2]) * int(logits[level].shape[3])
        scores = tf.sigmoid(tf.reshape(logits[level], [-1, count]))
        encoded = tf.reshape(boxes[level], [-1, count, 4])
        level_anchors = tf.reshape(anchors[level], [1, count, 4])
        if min_size_px > 0.0:  # Small boxes must not take places among the best, so all are decoded.
            encoded, scores = box_ops.filter_boxes(
                box_ops.clip_boxes(box_ops.decode_boxes(encoded, level_anchors), shape), scores, shape, min_size_px
            )
        top_scores, top = tf.math.top_k(scores, k=min(count, how.pre_nms_top_k))
        decoded = tf.gather(encoded, top, batch_dims=1)
        if min_size_px <= 0.0:
            decoded = box_ops.clip_boxes(box_ops.decode_boxes(decoded, tf.gather(level_anchors[0], top)), shape)
        keep = top_scores >= min_score
        level_boxes.append(decoded)
        level_scores.append(tf.where(keep, top_scores, _BELOW_EVERY_SCORE))
    widest = max(int(scores.shape[1]) for scores in level_scores)
    padded_boxes = [tf.pad(b, [[0, 0], [0, widest - int(b.shape[1])], [0, 0]]) for b in level_boxes]
    padded_scores = [tf.pad(s, [[0, 0], [0, widest - int(s.shape[1])]], constant_values=_BELOW_EVERY_SCORE) for s in level_scores]
    kept = suppressed(
        tf.stack(padded_boxes, axis=2),
        tf.stack(padded_scores, axis=2),
        min_score=_BELOW_EVERY_SCORE / 2,
        nms_iou=how.nms_iou,
        num_detections=how.num_proposals,
    )
    return BatchProposals(kept.boxes_yxyx_px, kept.scores)


def class_detections(
    boxes: tf.Tensor, scores: tf.Tensor, *, pre_nms_top_k: int, min_score: float, nms_iou: float, num_detections: int
) -> BatchDetections:
    """Suppresses boxes within each class, as the Model Garden's generators of version `v2` do.

    Args:
      boxes: float32 `[B, N, 4]` yxyx in pixels of the scaled image, the same for all classes.
      scores: float32 `[B, N, C]`, probabilities without the background's.
      pre_nms_top_k: boxes of each class that enter suppression.
      min_score: probability at or below which a box does not enter.
      nms_iou: IoU above which the lower-scoring box is suppressed.
      num_detections: K.
    """
    top_scores, top = tf.math.top_k(tf.transpose(scores, [0, 2, 1]), k=min(int(boxes.shape[1]), pre_nms_top_k))
    top_boxes = tf.gather(boxes, top, batch_dims=1)
    return suppressed(
        tf.transpose(top_boxes, [0, 2, 1, 3]),
        tf.transpose(top_scores, [0, 2, 1]),
        min_score=min_score,
        nms_iou=nms_iou,
        num_detections=num_detections,
    )


def suppressed(boxes: tf.Tensor, scores: tf.Tensor, *, min_score: float, nms_iou: float, num_detections: int) -> BatchDetections:
    """Suppresses boxes within each class and keeps the best of all, by falling score.

    Args:
      boxes: float32 `[B, N, C, 4]` yxyx in pixels of the scaled image.
      scores: float32 `[B, N, C]`.
      min_score: score at or below which a box does not enter.
      nms_iou: IoU above which the lower-scoring box is suppressed.
      num_detections: K.
    """
    if setup.kernels() == setup.PLAIN:
        return _suppressed_by_class(boxes, scores, min_score, nms_iou, num_detections)
    found, found_scores, classes, num_valid = tf.image.combined_non_max_suppression(
        boxes,
        scores,
        max_output_size_per_class=num_detections,
        max_total_size=num_detections,
        iou_threshold=nms_iou,
        score_threshold=min_score,
        clip_boxes=False,
    )
    return BatchDetections(
        tf.ensure_shape(found, [None, num_detections, 4]),
        tf.ensure_shape(found_scores, [None, num_detections]),
        tf.cast(classes, tf.int32) + 1,
        num_valid,
    )


def _suppressed_by_class(
    boxes: tf.Tensor, scores: tf.Tensor, min_score: float, nms_iou: float, num_detections: int
) -> BatchDetections:
    """Does the same for one image, class by class, by an op that TensorFlow Lite and ONNX have too."""
    found_boxes, found_scores = [], []
    for number in range(int(scores.shape[2])):
        chosen, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=_with_area(boxes[0, :, number]),
            scores=scores[0, :, number],
            max_output_size=num_detections,
            iou_threshold=nms_iou,
            score_threshold=min_score,
            pad_to_max_output_size=True,
        )
        is_one = tf.range(num_detections) < count
        found_boxes.append(tf.gather(boxes[0, :, number], chosen))
        found_scores.append(tf.where(is_one, tf.gather(scores[0, :, number], chosen), _LOWEST))
    top_scores, top = tf.math.top_k(tf.concat(found_scores, axis=0), k=num_detections)
    is_valid = top_scores > min_score
    kept = tf.where(is_valid[:, tf.newaxis], tf.gather(tf.concat(found_boxes, axis=0), top), 0.0)
    return BatchDetections(
        kept[tf.newaxis],
        tf.where(is_valid, top_scores, 0.0)[tf.newaxis],
        (tf.where(is_valid, top // num_detections, 0) + 1)[tf.newaxis],
        tf.reduce_sum(tf.cast(is_valid, tf.int32))[tf.newaxis],
    )


def _with_area(boxes: tf.Tensor) -> tf.Tensor:
    """Returns boxes float32 `[N, 4]`, with boxes of no area, which overlap nothing, moved away from all others and made larger.

    TensorFlow Lite's kernel (tensorflow/lite/kernels/internal/reference/non_max_suppression.h) looks at a box that it chose once
    more and relies on its overlap with itself: one without area it would choose until no place is left.
    """
    number = tf.range(boxes.shape[0], dtype=tf.float32)[:, tf.newaxis]
    aside = tf.concat([-2.0 * number - 2.0, tf.zeros_like(number), -2.0 * number - 1.0, tf.ones_like(number)], axis=1)
    has_area = tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1, keepdims=True)
    return tf.where(has_area, boxes, aside)
