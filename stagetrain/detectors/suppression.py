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

_BELOW_EVERY_SCORE = -1.0


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
    kept, scores, _, _ = tf.image.combined_non_max_suppression(
        tf.stack(padded_boxes, axis=2),
        tf.stack(padded_scores, axis=2),
        max_output_size_per_class=how.num_proposals,
        max_total_size=how.num_proposals,
        iou_threshold=how.nms_iou,
        score_threshold=_BELOW_EVERY_SCORE / 2,
        clip_boxes=False,
    )
    return BatchProposals(tf.ensure_shape(kept, [None, how.num_proposals, 4]), tf.ensure_shape(scores, [None, how.num_proposals]))


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
    found, found_scores, classes, num_valid = tf.image.combined_non_max_suppression(
        tf.transpose(top_boxes, [0, 2, 1, 3]),
        tf.transpose(top_scores, [0, 2, 1]),
        max_output_size_per_class=num_detections,
        max_total_size=num_detections,
        iou_threshold=nms_iou,
        score_threshold=min_score,
        clip_boxes=False,
    )
    return BatchDetections(found, found_scores, tf.cast(classes, tf.int32) + 1, num_valid)
