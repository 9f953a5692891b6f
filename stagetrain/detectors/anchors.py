"""Anchors and their targets, composed from the Model Garden's matcher, similarity and coder.

The work that depends on the image and its view alone (matching, encoding) is apart from the sampling, which differs at each
step, so that the first can be kept and only the second repeated.

A anchors of all levels together, G ground-truth boxes.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from official.vision.ops import anchor, anchor_generator, box_matcher, iou_similarity, target_gather
from official.vision.utils.object_detection import box_list, faster_rcnn_box_coder

from stagetrain.config.builtin.faster_rcnn import FasterRcnn
from stagetrain.config.builtin.faster_rcnn_single_scale import FasterRcnnSingleScale
from stagetrain.config.builtin.mask_rcnn import MaskRcnn
from stagetrain.config.builtin.retinanet import RetinaNet
from stagetrain.config.model_garden.networks import MaskRcnnParser, TwoStageParser
from stagetrain.detectors import sampling


def anchor_boxes(model: FasterRcnn | MaskRcnn | RetinaNet) -> Mapping[str, tf.Tensor]:
    """Returns level -> float32 `[h, w, anchors at a location * 4]`, yxyx in pixels of the scaled image.

    Args:
      model: the detector's options.
    """
    return anchor.Anchor(
        min_level=model.min_level,
        max_level=model.max_level,
        num_scales=model.anchor.num_scales,
        aspect_ratios=model.anchor.aspect_ratios,
        anchor_size=model.anchor.anchor_size,
        image_size=tuple(model.input_size[:2]),
    ).multilevel_boxes


def single_scale_anchors(model: FasterRcnnSingleScale) -> Mapping[str, tf.Tensor]:
    """Returns the anchors of one level, every size with every aspect ratio (Ren et al. 2015, section 3.1.1); see `anchor_boxes`.

    Args:
      model: the detector's options.
    """
    level = str(model.max_level)
    lay = anchor_generator.AnchorGeneratorv1(
        anchor_sizes={level: 1.0},
        scales={level: model.anchor.sizes},
        aspect_ratios={level: model.anchor.aspect_ratios},
        strides={level: 2**model.max_level},
    )
    return lay(model.input_size[:2])


class RpnTargets:
    """What the region proposal network is to say about each anchor of an image (Ren et al. 2015, section 3.1.2)."""

    def __init__(
        self, parser: TwoStageParser | MaskRcnnParser, anchor_boxes: Mapping[str, tf.Tensor], allowed_border: float | None = None
    ):
        """Args: parser: options; anchor_boxes: by level; allowed_border: anchors beyond the image by more pixels are ignored."""
        self.parser, self.anchor_boxes, self._allowed_border = parser, anchor_boxes, allowed_border
        self._flat = tf.concat([tf.reshape(boxes, [-1, 4]) for boxes in self.anchor_boxes.values()], axis=0)
        self._similarity = iou_similarity.IouSimilarity()
        self._gather = target_gather.TargetGather()
        self._matcher = box_matcher.BoxMatcher(
            thresholds=[self.parser.rpn_unmatched_threshold, self.parser.rpn_match_threshold],
            indicators=[-1, -2, 1],
            force_match_for_each_col=True,
        )
        self._coder = faster_rcnn_box_coder.FasterRcnnBoxCoder()

    @property
    def num_anchors(self) -> int:
        """Anchors of all levels."""
        return int(self._flat.shape[0])

    def match(self, gt_boxes: tf.Tensor, image_shape: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Matches one image's anchors.

        Args:
          gt_boxes: float32 `[G, 4]` yxyx in pixels of the scaled image, not padded.
          image_shape: float32 `[2]`, height and width of the scaled image inside its padding.

        Returns:
          int8 `[A]`: 1 positive, -1 negative, -2 neither; float32 `[A, 4]`: encoded boxes, zero where not positive.
        """
        similarity = self._similarity(self._flat, gt_boxes)
        if self._allowed_border is None:
            indices, indicators = self._matcher(similarity)
        else:  # What is ignored must not be the best match of a box either.
            inside = self._inside(image_shape, self._allowed_border)
            indices, indicators = self._matcher(tf.where(inside[:, tf.newaxis], similarity, -1.0))
            indicators = tf.where(inside, indicators, -2)
        positive = tf.tile(tf.expand_dims(tf.greater(indicators, 0), 1), [1, 4])
        matched = self._gather(gt_boxes, indices, tf.logical_not(positive))
        encoded = self._coder.encode(box_list.BoxList(matched), box_list.BoxList(self._flat))
        return tf.cast(indicators, tf.int8), tf.where(positive, encoded, tf.zeros_like(encoded))

    def _inside(self, image_shape: tf.Tensor, border: float) -> tf.Tensor:
        """Returns bool `[A]`: the anchors that leave the image by `border` pixels at most (section 3.3)."""
        beyond = tf.concat([-self._flat[:, :2], self._flat[:, 2:] - image_shape], axis=-1)
        return tf.reduce_all(beyond <= border, axis=-1)

    def sample(self, indicators: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Returns int32 `[A]`: 1 and 0 for the sampled positives and negatives, -1 for the rest."""
        return sampling.sample_labels(
            tf.equal(indicators, 1),
            tf.equal(indicators, -1),
            self.parser.rpn_batch_size_per_im,
            self.parser.rpn_fg_fraction,
            seed,
        )

    def by_level(self, targets: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """Splits `[A, ...]` into level -> `[h, w, anchors at a location * ...]`, the shape of the RPN's outputs."""
        return anchor.unpack_targets(targets, self.anchor_boxes)
