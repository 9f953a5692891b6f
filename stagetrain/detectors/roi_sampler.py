"""RoIs for a detection head's losses: matched to the ground truth, sampled, and given their targets.

B images, P proposals, G ground-truth boxes, N candidates, R RoIs.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf
from official.vision.ops import box_matcher, box_ops, iou_similarity

from stagetrain.config.model_garden import maskrcnn
from stagetrain.detectors import sampling

# The Model Garden's weights of box regression targets; the inverse of the (0.1, 0.1, 0.2, 0.2) deviations of Fast R-CNN.
BOX_WEIGHTS = [10.0, 10.0, 5.0, 5.0]
SAMPLED = ('rois', 'roi_classes', 'roi_boxes', 'roi_matches')
"""Keys in `Batch.targets` of RoIs sampled from stored proposals: the fields of `Rois`."""


class Rois(NamedTuple):
    """RoIs and what a head is to say about them; no gradient flows through them."""

    boxes: tf.Tensor
    """float32 `[B, R, 4]` yxyx in pixels of the scaled image."""
    classes: tf.Tensor
    """int32 `[B, R]`, 0 for background."""
    encoded: tf.Tensor
    """float32 `[B, R, 4]`: the matched box relative to the RoI; zero for background."""
    matches: tf.Tensor
    """int32 `[B, R]`: which of the ground-truth boxes is matched; -1 for background."""


class RoiSampler:
    """Samples RoIs and assigns their targets, as the Model Garden's `ROISampler`, with stateless random numbers."""

    def __init__(self, options: maskrcnn.ROISampler):
        """Args: options: the Model Garden's `roi_sampler`."""
        self._options = options
        self._matcher = _Matcher(
            options.background_iou_low_threshold, options.background_iou_high_threshold, options.foreground_iou_threshold
        )

    def __call__(self, rois: tf.Tensor, gt_boxes: tf.Tensor, gt_classes: tf.Tensor, seeds: tf.Tensor) -> Rois:
        """Matches and samples; see `match` and `sample`."""
        return self.sample(rois, gt_boxes, gt_classes, *self.match(rois, gt_boxes), seeds)

    def match(self, rois: tf.Tensor, gt_boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Matches RoIs, and the ground truth itself where `mix_gt_boxes` says so.

        Args:
          rois: float32 `[B, P, 4]` yxyx pixels of the scaled image, padded with -1.
          gt_boxes: float32 `[B, G, 4]`, padded with -1.

        Returns:
          int32 `[B, N]`: the box that a candidate fits best; int32 `[B, N]`: 1 positive, -1 negative, -2 neither, -3 padding.
        """
        return self._matcher(self._candidates(rois, gt_boxes), gt_boxes)

    def sample(
        self,
        rois: tf.Tensor,
        gt_boxes: tf.Tensor,
        gt_classes: tf.Tensor,
        indices: tf.Tensor,
        indicators: tf.Tensor,
        seeds: tf.Tensor,
    ) -> Rois:
        """Returns sampled RoIs with their targets.

        Args:
          rois: as for `match`.
          gt_boxes: as for `match`.
          gt_classes: int32 `[B, G]`, padded with -1.
          indices: from `match`.
          indicators: from `match`.
          seeds: int32 `[B, 2]`.
        """
        chosen = sampling.sample_indices(
            tf.greater(indicators, 0),
            tf.equal(indicators, -1),
            self._options.num_sampled_rois,
            self._options.foreground_fraction,
            seeds,
        )
        sampled = tf.gather(self._candidates(rois, gt_boxes), chosen, batch_dims=1)
        positive = tf.greater(tf.gather(indicators, chosen, batch_dims=1), 0)
        matched = tf.gather(indices, chosen, batch_dims=1)
        return _with_targets(sampled, positive, matched, gt_boxes, gt_classes, BOX_WEIGHTS)

    def _candidates(self, rois: tf.Tensor, gt_boxes: tf.Tensor) -> tf.Tensor:
        return tf.concat([rois, gt_boxes], axis=1) if self._options.mix_gt_boxes else rois


class RoiMatcher:
    """Assigns targets to all RoIs and leaves none out, as a later head of a cascade needs (Cai and Vasconcelos 2018)."""

    def __init__(self, iou_threshold: float, box_weights: list[float]):
        """Args: iou_threshold: from which a RoI is no background; box_weights: of its regression targets."""
        self._matcher = _Matcher(0.0, iou_threshold, iou_threshold)
        self._box_weights = box_weights

    def __call__(self, rois: tf.Tensor, gt_boxes: tf.Tensor, gt_classes: tf.Tensor) -> Rois:
        """Returns the RoIs float32 `[B, R, 4]` with their targets; the rest as for `RoiSampler.sample`."""
        indices, indicators = self._matcher(rois, gt_boxes)
        return _with_targets(rois, tf.greater(indicators, 0), indices, gt_boxes, gt_classes, self._box_weights)


class _Matcher:
    """Finds the best box of each RoI, and judges the match by its IoU."""

    def __init__(self, low: float, high: float, foreground: float):
        self._similarity = iou_similarity.IouSimilarity()
        self._match = box_matcher.BoxMatcher(thresholds=[low, high, foreground], indicators=[-3, -1, -2, 1])

    def __call__(self, rois: tf.Tensor, gt_boxes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        invalid, gt_invalid = (tf.less(tf.reduce_max(boxes, axis=-1, keepdims=True), 0.0) for boxes in (rois, gt_boxes))
        return self._match(self._similarity(rois, gt_boxes, invalid, gt_invalid))


def _with_targets(
    rois: tf.Tensor,
    positive: tf.Tensor,
    matched: tf.Tensor,
    gt_boxes: tf.Tensor,
    gt_classes: tf.Tensor,
    box_weights: list[float],
) -> Rois:
    classes = tf.where(positive, tf.gather(gt_classes, matched, batch_dims=1), 0)
    # Background is encoded against itself, for a logarithm of a padded box is NaN, and `where` passes NaN gradients on.
    target_boxes = tf.where(positive[..., tf.newaxis], tf.gather(gt_boxes, matched, batch_dims=1), rois)
    encoded = box_ops.encode_boxes(target_boxes, rois, weights=box_weights)
    encoded = tf.where(positive[..., tf.newaxis], encoded, tf.zeros_like(encoded))
    matches = tf.where(positive, matched, -1)
    return Rois(*map(tf.stop_gradient, (rois, classes, encoded, matches)))
