"""Faster, Cascade and Mask R-CNN from the Model Garden's parts: backbone, FPN, RPN head, detection and mask heads, losses.

The Model Garden's `MaskRCNNModel` always computes both branches; here a stage builds and computes what its losses need. On
equal weights, samples and inputs both give the same losses and gradients (`tests/detectors/test_parity.py`).

A cascade (`roi_sampler.cascade_iou_thresholds`; Cai and Vasconcelos 2018) has several detection heads: each refines the boxes of
the one before it, and learns on RoIs that overlap an object more closely. A Mask R-CNN has a `mask_head` beside its detection
head.

B images, R sampled RoIs, K classes with background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.losses import maskrcnn_losses
from official.vision.modeling.heads import dense_prediction_heads, instance_heads
from official.vision.ops import box_ops

from stagetrain.config.builtin import faster_rcnn
from stagetrain.config.builtin.mask_rcnn import MaskRcnn
from stagetrain.detectors.anchors import RpnTargets, anchor_boxes
from stagetrain.detectors.mask_branch import MaskBranch
from stagetrain.detectors.pyramid import BuildHead, override
from stagetrain.detectors.replicas import level_loss, with_one_margin
from stagetrain.detectors.roi_sampler import BOX_WEIGHTS, RoiMatcher, Rois
from stagetrain.detectors.two_stage import HEAD_TERMS, Classified, Levels, TwoStageDetector, each_alone
from stagetrain.images.network_input import Batch

Options = faster_rcnn.FasterRcnn | MaskRcnn
# Later heads see smaller errors: those of the Model Garden's `MaskRCNNModel`.
CASCADE_BOX_WEIGHTS = [BOX_WEIGHTS, [20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]]


class FasterRcnn(TwoStageDetector):
    """A Faster R-CNN, or Mask R-CNN, that holds only the modules it was asked for."""

    model: Options

    def __init__(self, model: Options, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the `faster_rcnn` or `mask_rcnn` options of a pipeline.
          num_classes: classes without background.
          modules: which of `backbone`, `decoder`, `rpn_head`, `detection_head`, `mask_head` to build; the first two always are.
          seed: of the initialisers.
        """
        thresholds = model.roi_sampler.cascade_iou_thresholds or []
        self._matchers = [RoiMatcher(iou, CASCADE_BOX_WEIGHTS[number]) for number, iou in enumerate(thresholds, start=1)]
        self._masks = MaskBranch(model) if isinstance(model, MaskRcnn) else None
        rpn_targets = RpnTargets(model.parser, anchor_boxes(model))
        super().__init__(model, model_garden_config(model, num_classes + 1), num_classes, modules, seed, rpn_targets)

    # ---- building -------------------------------------------------------------------------------------------------------

    def _heads_on(self, levels: Mapping[str, tf.TensorShape]) -> Mapping[str, BuildHead]:
        """Returns what builds `rpn_head`, `detection_head` (a list in a cascade) and `mask_head`; see `PyramidDetector`."""
        num_filters = next(iter(levels.values()))[-1]
        detection_head = functools.partial(self._build_detection_head, num_filters)
        heads = {
            'rpn_head': functools.partial(self._build_rpn_head, levels),
            'detection_head': [detection_head] * (1 + len(self._matchers)) if self._matchers else detection_head,
        }
        if self._masks is not None:
            norm = {name: value for name, value in self._norm_options().items() if name != 'use_sync_bn'}
            options = {**norm, 'kernel_regularizer': self._regularizer()}
            heads['mask_head'] = functools.partial(self._masks.build_head, self.num_classes, num_filters, **options)
        return heads

    def _build_rpn_head(self, levels: Mapping[str, tf.TensorShape]) -> dense_prediction_heads.RPNHead:
        rpn_head = dense_prediction_heads.RPNHead(**self._rpn_options(), kernel_regularizer=self._regularizer())
        rpn_head.build(dict(levels))
        rpn_head({level: tf.zeros([1, *shape[1:]]) for level, shape in levels.items()})
        return rpn_head

    def _build_detection_head(self, num_filters: int) -> instance_heads.DetectionHead:
        head = instance_heads.DetectionHead(**self._head_options(), kernel_regularizer=self._regularizer())
        size = self.model.roi_aligner.crop_size
        head(tf.zeros([1, 1, size, size, num_filters]))
        return head

    def _rpn_options(self) -> dict[str, Any]:
        return {
            'min_level': self.model.min_level,
            'max_level': self.model.max_level,
            'num_anchors_per_location': len(self.model.anchor.aspect_ratios) * self.model.anchor.num_scales,
            **self.model.rpn_head.model_dump(),
            **self._norm_options(),
        }

    def _head_options(self) -> dict[str, Any]:
        options = self.model.detection_head.model_dump(exclude={'cascade_class_ensemble'})
        return {'num_classes': self.num_classes, **options, **self._norm_options()}

    # ---- computing ------------------------------------------------------------------------------------------------------

    @property
    def is_class_agnostic(self) -> bool:
        """See `TwoStageDetector`."""
        return self.model.detection_head.class_agnostic_bbox_pred

    def rpn(self, features: Levels, training: bool) -> tuple[Levels, Levels]:
        """See `TwoStageDetector.rpn`."""
        return self.modules['rpn_head'](features, training=training)

    def rpn_losses(self, scores: Levels, encoded: Levels, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns `rpn_score` and `rpn_box` as asked; see `TwoStageDetector.rpn_losses`.

        Like the Model Garden's task, `rpn_score` is divided by `roi_sampler.num_sampled_rois`, not by the number of sampled
        anchors.
        """
        values = {}
        if 'rpn_score' in terms:
            loss = maskrcnn_losses.RpnScoreLoss(self.model.roi_sampler.num_sampled_rois)
            values['rpn_score'] = tf.reduce_mean(loss(scores, batch['targets']['rpn_score_targets']))
        if 'rpn_box' in terms:
            loss = maskrcnn_losses.RpnBoxLoss(self.model.losses.rpn_huber_loss_delta)
            values['rpn_box'] = tf.reduce_mean(level_loss(loss, encoded, batch['targets']['rpn_box_targets']))
        return values

    def head_losses(self, features: Levels, rois: Rois, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the losses in `terms`, in a cascade the means over its heads; see `TwoStageDetector`."""
        values = {}
        if self._masks is not None and 'mask' in terms:
            values['mask'] = self._masks.loss(self.modules['mask_head'], features, rois, batch)
        if set(HEAD_TERMS) & set(terms):
            values.update(self._detection_losses(features, rois, batch, terms))
        return values

    def _detection_losses(self, features: Levels, rois: Rois, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        by_head = []
        for number, head in enumerate(self._heads):
            logits, encoded = head(self.roi_features(features, rois.boxes), training=True)
            by_head.append(self._losses_of_head(logits, encoded, rois, terms))
            if number < len(self._matchers):
                refined = tf.stop_gradient(_refined(rois.boxes, encoded, number, batch['image_shape']))
                rois = self._matchers[number](refined, batch['gt_boxes'], batch['gt_classes'])
        return {term: tf.add_n([values[term] for values in by_head]) / len(by_head) for term in by_head[0]}

    def _losses_of_head(self, logits: tf.Tensor, encoded: tf.Tensor, rois: Rois, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        values = {}
        if 'frcnn_class' in terms:
            values['frcnn_class'] = self.class_loss(logits, rois)
        if 'frcnn_box' in terms:
            loss = maskrcnn_losses.FastrcnnBoxLoss(self.model.losses.frcnn_huber_loss_delta, self.is_class_agnostic)
            own = tf.reduce_mean(loss(encoded, rois.classes, rois.encoded))
            values['frcnn_box'] = with_one_margin(own, lambda: 4.0 * tf.reduce_sum(tf.cast(rois.classes > 0, tf.float32)))
        return values

    def classify(self, features: Levels, rois: tf.Tensor, image_shape: tf.Tensor) -> Classified:
        """Returns what the (last) head says, with the mean of all heads' logits where that is asked; see `TwoStageDetector`."""
        all_logits = []
        for number, head in enumerate(self._heads):
            logits, encoded = each_alone(functools.partial(head, training=False), self.roi_features(features, rois))
            all_logits.append(logits)
            if number < len(self._matchers):
                rois = _refined(rois, encoded, number, image_shape)
        if self.model.detection_head.cascade_class_ensemble:
            logits = tf.add_n(all_logits) / len(all_logits)
        return Classified(rois, logits, encoded, CASCADE_BOX_WEIGHTS[len(self._matchers)])

    def predict_masks(self, features: Levels, detected: tf.Tensor, classes: tf.Tensor) -> tf.Tensor | None:
        """Returns the masks of detections where there is a mask head; see `TwoStageDetector`."""
        if self._masks is None or 'mask_head' not in self.modules:
            return None
        return self._masks.predict(self.modules['mask_head'], features, detected, classes)

    def mask_size(self, terms: Sequence[str]) -> int | None:
        """See `Detector.mask_size`."""
        return self.model.parser.mask_crop_size if isinstance(self.model, MaskRcnn) and 'mask' in terms else None

    @property
    def _heads(self) -> list[Any]:
        heads = self.modules['detection_head']
        return list(heads) if self._matchers else [heads]


def _refined(rois: tf.Tensor, encoded: tf.Tensor, number: int, image_shape: tf.Tensor) -> tf.Tensor:
    """Returns the boxes float32 `[B, R, 4]` that head `number` of a cascade gives, for the next one."""
    decoded = box_ops.decode_boxes(encoded, rois, weights=CASCADE_BOX_WEIGHTS[number])
    return box_ops.clip_boxes(decoded, tf.expand_dims(image_shape, axis=1))


def model_garden_config(model: Options, num_classes: int) -> maskrcnn_config.MaskRCNN:
    """Returns the Model Garden's own config with the same options.

    Args:
      model: the `faster_rcnn` or `mask_rcnn` options of a pipeline.
      num_classes: classes with background.
    """
    parts = {} if isinstance(model, MaskRcnn) else {'mask_head': None, 'mask_sampler': None, 'mask_roi_aligner': None}
    return override(maskrcnn_config.MaskRCNN(num_classes=num_classes, include_mask=not parts, **parts), model)
