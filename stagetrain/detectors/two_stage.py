"""The part that detectors share which propose regions and then classify them: the Faster R-CNN family.

    class FasterRcnn(TwoStageDetector):
        def _heads_on(self, levels): ...
        def rpn_losses(self, scores, encoded, batch, terms): ...
        def head_losses(self, features, rois, batch, terms): ...
        def classify(self, features, rois, image_shape): ...

B images, P proposals, R RoIs, S x S points of a RoI, C channels, K classes with background.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from official.vision.losses import maskrcnn_losses
from official.vision.modeling.layers import detection_generator

from stagetrain.config.builtin.faster_rcnn import FasterRcnn
from stagetrain.config.builtin.faster_rcnn_single_scale import FasterRcnnSingleScale
from stagetrain.config.builtin.mask_rcnn import MaskRcnn
from stagetrain.detectors import suppression
from stagetrain.detectors.anchors import RpnTargets
from stagetrain.detectors.detector import BatchDetections, BatchProposals, Proposing
from stagetrain.detectors.pyramid import PyramidDetector
from stagetrain.detectors.roi_align import Aligner
from stagetrain.detectors.roi_sampler import SAMPLED, Rois, RoiSampler
from stagetrain.devices import setup
from stagetrain.images.network_input import Batch, Known, Seeds

RPN_TERMS = ('rpn_score', 'rpn_box')
HEAD_TERMS = ('frcnn_class', 'frcnn_box')
ROI_TERMS = (*HEAD_TERMS, 'mask')
"""The loss terms on sampled RoIs."""
Levels = Mapping[str, tf.Tensor]
Options = FasterRcnn | MaskRcnn | FasterRcnnSingleScale


class Classified(NamedTuple):
    """What the detection head says about RoIs."""

    rois: tf.Tensor
    """float32 `[B, R, 4]` yxyx in pixels of the scaled image, which the boxes are relative to."""
    logits: tf.Tensor
    """float32 `[B, R, K]`."""
    encoded: tf.Tensor
    """float32 `[B, R, K * 4]`, or `[B, R, 4]` where boxes do not depend on the class."""
    box_weights: list[float]
    """By which the encoded boxes are divided."""


def each_alone(head: Callable[[tf.Tensor], Any], crops: tf.Tensor) -> list[tf.Tensor]:
    """Returns the outputs `[B, R, ...]` of a head on RoI features `[B, R, S, S, C]`, where R need not be known before.

    The Model Garden's heads want to know the number of RoIs; an image of one RoI is as good to them.
    """
    outputs = head(tf.reshape(crops, [-1, 1, *crops.shape[2:]]))
    return [tf.reshape(output, [*tf.unstack(tf.shape(crops)[:2]), output.shape[-1]]) for output in outputs]


class TwoStageDetector(PyramidDetector):
    """A detector with a region proposal network; see `PyramidDetector` for its modules and features."""

    model: Options

    def __init__(self, model: Options, config: Any, num_classes: int, modules: Sequence[str], seed: int, rpn_targets: RpnTargets):
        """Builds the modules; see `PyramidDetector`.

        Args:
          model: the detector's options in a pipeline.
          config: as for `PyramidDetector`.
          num_classes: classes without background.
          modules: which to build.
          seed: of the initialisers.
          rpn_targets: knows the anchors.
        """
        self.num_classes = num_classes + 1
        self._rpn_targets = rpn_targets
        self._sampler = RoiSampler(model.roi_sampler)
        self.roi_features = Aligner(model.roi_aligner.crop_size, model.roi_aligner.sample_offset)
        super().__init__(model, config, modules, seed)

    # ---- what kinds differ in -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def rpn(self, features: Levels, training: bool) -> tuple[Levels, Levels]:
        """Returns level -> scores (logits) float32 `[B, h, w, anchors]` and level -> encoded boxes `[B, h, w, anchors * 4]`."""

    @abc.abstractmethod
    def rpn_losses(self, scores: Levels, encoded: Levels, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns those of `RPN_TERMS` that are in `terms`, from the outputs of `rpn`."""

    @abc.abstractmethod
    def head_losses(self, features: Levels, rois: Rois, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns those of `ROI_TERMS` that are in `terms`, on sampled RoIs."""

    @abc.abstractmethod
    def classify(self, features: Levels, rois: tf.Tensor, image_shape: tf.Tensor) -> Classified:
        """Returns what the detection head says, in inference mode, about RoIs float32 `[B, R, 4]`; R may be known only then."""

    def predict_masks(self, features: Levels, detected: tf.Tensor, classes: tf.Tensor) -> tf.Tensor | None:
        """Returns `BatchDetections.masks` of boxes float32 `[B, D, 4]` and classes `[B, D]`, or None without a head for them."""
        return None

    @property
    def is_class_agnostic(self) -> bool:
        """Whether the detection head gives one box for all classes."""
        return False

    # ---- computing ------------------------------------------------------------------------------------------------------

    @property
    def anchor_boxes(self) -> Levels:
        """Level -> float32 `[h, w, anchors * 4]`, yxyx in pixels of the scaled image."""
        return self._rpn_targets.anchor_boxes

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the losses named in `terms`; see `Detector.losses`."""
        features = self.features(batch, training=True)
        values: dict[str, tf.Tensor] = {}
        scores: Any = None
        encoded: Any = None
        if set(RPN_TERMS) & set(terms) or ('proposals' not in batch and SAMPLED[0] not in batch.get('targets', {})):
            scores, encoded = self.rpn(features, training=True)
        if set(RPN_TERMS) & set(terms):
            values.update(self.rpn_losses(scores, encoded, batch, terms))
        if set(ROI_TERMS) & set(terms):
            values.update(self.head_losses(features, self._sampled(scores, encoded, batch), batch, terms))
        return values

    def _sampled(self, scores: Any, encoded: Any, batch: Batch) -> Rois:
        targets = batch.get('targets', {})
        if SAMPLED[0] in targets:
            return Rois(*(targets[key] for key in SAMPLED))
        rois = batch['proposals'] if 'proposals' in batch else self._training_rois(scores, encoded, batch['image_shape'])
        return self._sampler(rois, batch['gt_boxes'], batch['gt_classes'], batch['seed'])

    def class_loss(self, logits: tf.Tensor, rois: Rois) -> tf.Tensor:
        """Returns the Model Garden's `frcnn_class` of logits float32 `[B, R, K]`: the mean over RoIs."""
        options = self.model.losses
        loss = maskrcnn_losses.FastrcnnClassLoss(
            use_binary_cross_entropy=options.frcnn_class_use_binary_cross_entropy,
            top_k_percent=options.frcnn_class_loss_top_k_percent,
        )
        return tf.reduce_mean(loss(logits, rois.classes, options.class_weights))

    def _training_rois(self, scores: Any, encoded: Any, image_shape: tf.Tensor) -> tf.Tensor:
        """Proposes RoIs for approximate joint training: no gradient flows through the boxes."""
        options = self.model.roi_generator
        found = suppression.multilevel_proposals(
            encoded,
            scores,
            self.anchor_boxes,
            image_shape,
            Proposing(options.pre_nms_top_k, options.nms_iou_threshold, options.num_proposals),
            min_score=options.pre_nms_score_threshold,
            min_size_px=options.pre_nms_min_size_threshold,
        )
        return tf.stop_gradient(found.boxes_yxyx_px)

    @property
    def proposing(self) -> Proposing:
        """See `Detector.proposing`."""
        options = self.model.roi_generator
        return Proposing(options.test_pre_nms_top_k, options.test_nms_iou_threshold, options.test_num_proposals)

    def propose(self, batch: Batch, how: Proposing) -> BatchProposals:
        """Returns the RPN's proposals in inference mode; see `Detector.propose`."""
        scores, encoded = self.rpn(self.features(batch, training=False), training=False)
        options = self.model.roi_generator
        return suppression.multilevel_proposals(
            encoded,
            scores,
            self.anchor_boxes,
            batch['image_shape'],
            how,
            min_score=options.test_pre_nms_score_threshold,
            min_size_px=options.test_pre_nms_min_size_threshold,
        )

    def detect(self, batch: Batch) -> BatchDetections:
        """Returns detections on stored proposals where the batch has them, else on the detector's own; see `Detector.detect`."""
        features = self.features(batch, training=False)
        rois = batch.get('proposals')
        if rois is None:
            read = Batch(features={self._last_module: features}, image_shape=batch['image_shape'])
            rois = self.propose(read, self.proposing).boxes_yxyx_px
        # A padded proposal has no area; the head would see a corner of the image and might find something there.
        is_padding = tf.reduce_any(rois[..., 2:] <= rois[..., :2], axis=-1)
        classified = self._classify_all_but(is_padding, features, rois, batch['image_shape'])
        background = tf.one_hot([[0]], self.num_classes, on_value=1e4)
        logits = tf.where(is_padding[..., tf.newaxis], background, classified.logits)
        found = self._detections(classified._replace(logits=logits), batch['image_shape'])
        return dataclasses.replace(found, masks=self.predict_masks(features, found.boxes_yxyx_px, found.classes))

    def _classify_all_but(self, is_padding: tf.Tensor, features: Levels, rois: tf.Tensor, image_shape: tf.Tensor) -> Classified:
        """Returns `classify` of RoIs float32 `[B, R, 4]`; on a CPU the head sees no columns of padding (bool `[B, R]`) alone.

        Suppression leaves most images fewer proposals than there are places, and the head is the larger part of detection.
        """
        if self.kernels != setup.NATIVE:
            return self.classify(features, rois, image_shape)
        num_rois = int(rois.shape[1])
        used = tf.reduce_max(tf.where(is_padding, 1, tf.range(1, num_rois + 1)))
        found = self.classify(features, rois[:, :used], image_shape)

        def filled(part: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.pad(part, [[0, 0], [0, num_rois - used], [0, 0]]), [None, num_rois, None])

        return Classified(filled(found.rois), filled(found.logits), filled(found.encoded), found.box_weights)

    def _detections(self, classified: Classified, image_shape: tf.Tensor) -> BatchDetections:
        """Returns what the Model Garden's generator gives, with other kernels where these give the same boxes."""
        options = self.model.detection_generator.model_dump()
        takes_all = options['nms_version'] != 'v1' and int(classified.rois.shape[1]) <= options['pre_nms_top_k']
        if takes_all and self.kernels == setup.NATIVE:
            options['nms_version'] = 'batched'
        options['apply_nms'] = not (takes_all and self.kernels == setup.PLAIN)
        found = detection_generator.DetectionGenerator(**options)(
            classified.encoded,
            classified.logits,
            classified.rois,
            image_shape,
            classified.box_weights,
            bbox_per_class=not self.is_class_agnostic,
        )
        if not options['apply_nms']:
            scores = found['decoded_box_scores']
            return suppression.suppressed(
                tf.broadcast_to(found['decoded_boxes'], [*scores.shape, 4]),
                scores,
                min_score=options['pre_nms_score_threshold'],
                nms_iou=options['nms_iou_threshold'],
                num_detections=options['max_num_detections'],
            )
        return BatchDetections(
            boxes_yxyx_px=found['detection_boxes'],
            scores=found['detection_scores'],
            classes=tf.cast(found['detection_classes'], tf.int32),
            num_valid=tf.cast(found['num_detections'], tf.int32),
        )

    # ---- targets --------------------------------------------------------------------------------------------------------

    def match(self, known: Known, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns each anchor's match and encoded box, and each stored proposal's match; see `Detector.match`."""
        matched = {}
        if set(RPN_TERMS) & set(terms):
            gt_boxes = known['gt_boxes'][: known['num_objects']]
            matched['rpn_indicators'], matched['rpn_encoded'] = self._rpn_targets.match(gt_boxes, known['image_shape'])
        if set(ROI_TERMS) & set(terms) and 'proposals' in known:
            indices, indicators = self._sampler.match(known['proposals'][tf.newaxis], known['gt_boxes'][tf.newaxis])
            matched['roi_indices'] = tf.cast(indices[0], tf.int16)
            matched['roi_indicators'] = tf.cast(indicators[0], tf.int8)
        return matched

    def targets(
        self,
        known: Known,
        matched: Mapping[str, tf.Tensor],
        seeds: Seeds,
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
