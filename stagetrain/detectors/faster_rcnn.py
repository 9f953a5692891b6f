"""Faster R-CNN (Ren et al. 2015) from the Model Garden's parts: backbone, FPN, RPN head, detection head, aligner, losses.

The Model Garden's `MaskRCNNModel` always computes both branches; here a stage builds and computes what its losses need. On
equal weights, samples and inputs both give the same losses and gradients (`tests/detectors/test_parity.py`).

B images, G ground-truth boxes, P proposals, R sampled RoIs, K classes with background.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from official.vision.configs import maskrcnn as maskrcnn_config
from official.vision.losses import maskrcnn_losses
from official.vision.modeling.heads import dense_prediction_heads, instance_heads
from official.vision.modeling.layers import detection_generator, roi_aligner
from official.vision.ops import box_matcher, box_ops, iou_similarity, target_gather

from stagetrain.detectors import boxes, roi_align, sampling
from stagetrain.detectors.anchors import RpnTargets
from stagetrain.detectors.detector import Batch, Detections, clear_names, feature_key
from stagetrain.detectors.pyramid import PyramidDetector, override

RPN_TERMS = ('rpn_score', 'rpn_box')
HEAD_TERMS = ('frcnn_class', 'frcnn_box')
SAMPLED = ('rois', 'roi_classes', 'roi_boxes')
"""Batch keys of RoIs sampled from stored proposals: float32 `[B, R, 4]`, int32 `[B, R]`, encoded float32 `[B, R, 4]`."""
# The Model Garden's weights of box regression targets; the inverse of the (0.1, 0.1, 0.2, 0.2) deviations of Fast R-CNN.
BOX_WEIGHTS = [10.0, 10.0, 5.0, 5.0]


class FasterRcnn(PyramidDetector):
    """A Faster R-CNN that holds only the modules it was asked for."""

    def __init__(self, model: Any, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the `faster_rcnn` options of a pipeline.
          num_classes: classes without background.
          modules: which of `backbone`, `decoder`, `rpn_head`, `detection_head` to build; the first two always are.
          seed: of the initialisers.
        """
        self.num_classes = num_classes + 1
        self._rpn_targets = RpnTargets(model)
        self._sampler = RoiSampler(model.roi_sampler)
        super().__init__(model, model_garden_config(model, self.num_classes), modules, seed)

    # ---- building -------------------------------------------------------------------------------------------------------

    def _build_heads(self, wanted: tuple[str, ...], levels: Mapping[str, tf.TensorShape]) -> Iterator[tuple[str, Any]]:
        """Yields `rpn_head` and `detection_head` as wanted; see `PyramidDetector`."""
        if 'rpn_head' in wanted:
            clear_names(self._seed + 2)
            rpn_head = dense_prediction_heads.RPNHead(**self._rpn_options(), kernel_regularizer=self._regularizer())
            rpn_head.build(dict(levels))
            rpn_head({level: tf.zeros([1, *shape[1:]]) for level, shape in levels.items()})
            yield 'rpn_head', rpn_head
        if 'detection_head' in wanted:
            clear_names(self._seed + 3)
            head = instance_heads.DetectionHead(**self._head_options(), kernel_regularizer=self._regularizer())
            size = self.model.roi_aligner.crop_size
            head(tf.zeros([1, 1, size, size, next(iter(levels.values()))[-1]]))
            yield 'detection_head', head

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
    def anchor_boxes(self) -> Mapping[str, tf.Tensor]:
        """Level -> float32 `[h, w, anchors * 4]`, yxyx in pixels of the scaled image."""
        return self._rpn_targets.anchor_boxes

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the Model Garden's losses named in `terms`; see `Detector.losses`."""
        features = self.features(batch, training=True)
        values: dict[str, tf.Tensor] = {}
        scores = encoded = None
        if set(RPN_TERMS) & set(terms) or not {'proposals', SAMPLED[0]} & set(batch):
            scores, encoded = self.modules['rpn_head'](features, training=True)
        if set(RPN_TERMS) & set(terms):
            values.update(self.rpn_losses(scores, encoded, batch, terms))
        if set(HEAD_TERMS) & set(terms):
            rois, classes, box_targets = self._sampled(scores, encoded, batch)
            values.update(self.head_losses(features, rois, classes, box_targets, terms))
        return values

    def _sampled(self, scores: Any, encoded: Any, batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        if SAMPLED[0] in batch:
            return batch[SAMPLED[0]], batch[SAMPLED[1]], batch[SAMPLED[2]]
        rois = batch['proposals'] if 'proposals' in batch else self._training_rois(scores, encoded, batch['image_shape'])
        return self._sampler(rois, batch['gt_boxes'], batch['gt_classes'], batch['seed'])

    def roi_features(self, features: Mapping[str, tf.Tensor], rois: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[B, R, S, S, C]`: on CPU by the native kernel, elsewhere by the Model Garden's aligner."""
        options = self.model.roi_aligner
        if boxes.runs_on_cpu():
            return roi_align.align(features, rois, options.crop_size, options.sample_offset)
        return self._aligner(features, rois)

    @functools.cached_property
    def _aligner(self) -> roi_aligner.MultilevelROIAligner:
        return roi_aligner.MultilevelROIAligner(**self.model.roi_aligner.model_dump())

    def rpn_losses(self, scores: Any, encoded: Any, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns `rpn_score` and `rpn_box` as asked, from the RPN head's outputs.

        Like the Model Garden's task, `rpn_score` is divided by `roi_sampler.num_sampled_rois`, not by the number of sampled
        anchors.
        """
        values = {}
        if 'rpn_score' in terms:
            loss = maskrcnn_losses.RpnScoreLoss(self.model.roi_sampler.num_sampled_rois)
            values['rpn_score'] = tf.reduce_mean(loss(scores, batch['rpn_score_targets']))
        if 'rpn_box' in terms:
            loss = maskrcnn_losses.RpnBoxLoss(self.model.losses.rpn_huber_loss_delta)
            values['rpn_box'] = tf.reduce_mean(loss(encoded, batch['rpn_box_targets']))
        return values

    def head_losses(
        self, features: Any, rois: tf.Tensor, class_targets: tf.Tensor, box_targets: tf.Tensor, terms: Sequence[str]
    ) -> dict[str, tf.Tensor]:
        """Returns `frcnn_class` and `frcnn_box` as asked, on sampled RoIs.

        Args:
          features: level -> `[B, h, w, C]`.
          rois: float32 `[B, R, 4]` yxyx in pixels of the scaled image.
          class_targets: int32 `[B, R]`, 0 for background.
          box_targets: float32 `[B, R, 4]`, encoded; zero for background.
          terms: names of the losses wanted.
        """
        options = self.model.losses
        class_outputs, box_outputs = self.modules['detection_head'](self.roi_features(features, rois), training=True)
        values = {}
        if 'frcnn_class' in terms:
            class_loss = maskrcnn_losses.FastrcnnClassLoss(
                use_binary_cross_entropy=options.frcnn_class_use_binary_cross_entropy,
                top_k_percent=options.frcnn_class_loss_top_k_percent,
            )
            values['frcnn_class'] = tf.reduce_mean(class_loss(class_outputs, class_targets, options.class_weights))
        if 'frcnn_box' in terms:
            box_loss = maskrcnn_losses.FastrcnnBoxLoss(
                options.frcnn_huber_loss_delta, self.model.detection_head.class_agnostic_bbox_pred
            )
            values['frcnn_box'] = tf.reduce_mean(box_loss(box_outputs, class_targets, box_targets))
        return values

    def _training_rois(self, scores: Any, encoded: Any, image_shape: tf.Tensor) -> tf.Tensor:
        """Proposes RoIs for approximate joint training: no gradient flows through the boxes."""
        options = self.model.roi_generator
        rois, _ = boxes.multilevel_proposals(
            encoded,
            scores,
            self.anchor_boxes,
            image_shape,
            pre_nms_top_k=options.pre_nms_top_k,
            nms_iou=options.nms_iou_threshold,
            num_proposals=options.num_proposals,
            min_score=options.pre_nms_score_threshold,
            min_size_px=options.pre_nms_min_size_threshold,
        )
        return tf.stop_gradient(rois)

    def propose(self, batch: Batch, *, pre_nms_top_k: int, nms_iou: float, num_proposals: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the RPN's proposals in inference mode: float32 `[B, P, 4]` yxyx pixels of the scaled image, scores `[B, P]`."""
        scores, encoded = self.modules['rpn_head'](self.features(batch, training=False), training=False)
        return boxes.multilevel_proposals(
            encoded,
            scores,
            self.anchor_boxes,
            batch['image_shape'],
            pre_nms_top_k=pre_nms_top_k,
            nms_iou=nms_iou,
            num_proposals=num_proposals,
            min_score=self.model.roi_generator.test_pre_nms_score_threshold,
            min_size_px=self.model.roi_generator.test_pre_nms_min_size_threshold,
        )

    def detect(self, batch: Batch) -> Detections:
        """Returns detections on stored proposals where the batch has them, else on the detector's own; see `Detector.detect`."""
        features = self.features(batch, training=False)
        rois = batch.get('proposals')
        if rois is None:
            options = self.model.roi_generator
            rois, _ = self.propose(
                {feature_key(self._last_module): features, 'image_shape': batch['image_shape']},
                pre_nms_top_k=options.test_pre_nms_top_k,
                nms_iou=options.test_nms_iou_threshold,
                num_proposals=options.test_num_proposals,
            )
        class_outputs, box_outputs = self.modules['detection_head'](self.roi_features(features, rois), training=False)
        # A padded proposal has no area; the head would see a corner of the image and might find something there.
        is_padding = tf.reduce_any(rois[..., 2:] <= rois[..., :2], axis=-1, keepdims=True)
        class_outputs = tf.where(is_padding, tf.one_hot([[0]], self.num_classes, on_value=1e4), class_outputs)
        found = self._detection_generator(int(rois.shape[1]))(
            box_outputs,
            class_outputs,
            rois,
            batch['image_shape'],
            BOX_WEIGHTS,
            bbox_per_class=not self.model.detection_head.class_agnostic_bbox_pred,
        )
        return Detections(
            boxes_yxyx_px=found['detection_boxes'],
            scores=found['detection_scores'],
            classes=tf.cast(found['detection_classes'], tf.int32),
            num_valid=tf.cast(found['num_detections'], tf.int32),
        )

    def _detection_generator(self, num_rois: int) -> detection_generator.DetectionGenerator:
        """Returns the Model Garden's generator, on the native kernel where that gives the same boxes (see `boxes`)."""
        options = self.model.detection_generator.model_dump()
        if options['nms_version'] == 'v2' and num_rois <= options['pre_nms_top_k'] and boxes.runs_on_cpu():
            options['nms_version'] = 'batched'
        return detection_generator.DetectionGenerator(**options)

    # ---- targets --------------------------------------------------------------------------------------------------------

    def match(self, known: Mapping[str, tf.Tensor], terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns each anchor's match and encoded box, and each stored proposal's match; see `Detector.match`."""
        matched = {}
        if set(RPN_TERMS) & set(terms):
            boxes = known['gt_boxes'][: known['num_objects']]
            matched['rpn_indicators'], matched['rpn_encoded'] = self._rpn_targets.match(boxes)
        if set(HEAD_TERMS) & set(terms) and 'proposals' in known:
            indices, indicators = self._sampler.match(known['proposals'][tf.newaxis], known['gt_boxes'][tf.newaxis])
            matched['roi_indices'] = tf.cast(indices[0], tf.int16)
            matched['roi_indicators'] = tf.cast(indicators[0], tf.int8)
        return matched

    def targets(
        self,
        known: Mapping[str, tf.Tensor],
        matched: Mapping[str, tf.Tensor],
        seeds: Mapping[str, tf.Tensor],
        terms: Sequence[str],
    ) -> dict[str, Any]:
        """Returns sampled score targets and box targets by level, and sampled RoIs; see `Detector.targets`."""
        values: dict[str, Any] = {}
        if set(RPN_TERMS) & set(terms):
            sampled = self._rpn_targets.sample(matched['rpn_indicators'], seeds['anchors'])
            values['rpn_score_targets'] = dict(self._rpn_targets.by_level(sampled))
            values['rpn_box_targets'] = dict(self._rpn_targets.by_level(matched['rpn_encoded']))
        if 'roi_indices' in matched:
            rois = self._sampler.sample(
                known['proposals'][tf.newaxis],
                known['gt_boxes'][tf.newaxis],
                known['gt_classes'][tf.newaxis],
                tf.cast(matched['roi_indices'], tf.int32)[tf.newaxis],
                tf.cast(matched['roi_indicators'], tf.int32)[tf.newaxis],
                seeds['rois'][tf.newaxis],
            )
            values.update({key: value[0] for key, value in zip(SAMPLED, rois, strict=True)})
        return values


class RoiSampler:
    """Samples RoIs and assigns their targets, as the Model Garden's `ROISampler`, with stateless random numbers."""

    def __init__(self, options: Any):
        """Args: options: the Model Garden's `roi_sampler`."""
        self._options = options
        self._similarity = iou_similarity.IouSimilarity()
        self._gather = target_gather.TargetGather()
        self._matcher = box_matcher.BoxMatcher(
            thresholds=[
                options.background_iou_low_threshold,
                options.background_iou_high_threshold,
                options.foreground_iou_threshold,
            ],
            indicators=[-3, -1, -2, 1],
        )

    def __call__(
        self, rois: tf.Tensor, gt_boxes: tf.Tensor, gt_classes: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
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
        candidates = self._candidates(rois, gt_boxes)
        invalid = tf.less(tf.reduce_max(candidates, axis=-1, keepdims=True), 0.0)
        gt_invalid = tf.less(tf.reduce_max(gt_boxes, axis=-1, keepdims=True), 0.0)
        return self._matcher(self._similarity(candidates, gt_boxes, invalid, gt_invalid))

    def sample(
        self,
        rois: tf.Tensor,
        gt_boxes: tf.Tensor,
        gt_classes: tf.Tensor,
        indices: tf.Tensor,
        indicators: tf.Tensor,
        seeds: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns sampled RoIs `[B, R, 4]`, their classes int32 `[B, R]` (0: background) and encoded boxes `[B, R, 4]`.

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
        classes = tf.where(positive, tf.gather(gt_classes, matched, batch_dims=1), 0)
        # Background is encoded against itself, for a logarithm of a padded box is NaN, and `where` passes NaN gradients on.
        target_boxes = tf.where(positive[..., tf.newaxis], tf.gather(gt_boxes, matched, batch_dims=1), sampled)
        encoded = box_ops.encode_boxes(target_boxes, sampled, weights=BOX_WEIGHTS)
        encoded = tf.where(positive[..., tf.newaxis], encoded, tf.zeros_like(encoded))
        return tf.stop_gradient(sampled), tf.stop_gradient(classes), tf.stop_gradient(encoded)

    def _candidates(self, rois: tf.Tensor, gt_boxes: tf.Tensor) -> tf.Tensor:
        return tf.concat([rois, gt_boxes], axis=1) if self._options.mix_gt_boxes else rois


def model_garden_config(model: Any, num_classes: int) -> maskrcnn_config.MaskRCNN:
    """Returns the Model Garden's own config with the same options.

    Args:
      model: the `faster_rcnn` options of a pipeline.
      num_classes: classes with background.
    """
    config = maskrcnn_config.MaskRCNN(
        num_classes=num_classes, include_mask=False, mask_head=None, mask_sampler=None, mask_roi_aligner=None
    )
    return override(config, model)
