"""RetinaNet (Lin et al. 2017, Focal Loss for Dense Object Detection) from the Model Garden's parts.

Every anchor is a sample, so that nothing is drawn: targets are decided by the image and its view alone. On equal weights and
inputs the Model Garden's `RetinaNetTask` gives the same losses and gradients (`tests/detectors/test_retinanet.py`).

B images, A anchors of all levels, K classes with background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras
from official.vision.configs import retinanet as retinanet_config
from official.vision.losses import focal_loss, loss_utils
from official.vision.modeling.heads import dense_prediction_heads
from official.vision.modeling.layers import detection_generator
from official.vision.ops import anchor

from stagetrain.config.builtin import retinanet as options
from stagetrain.detectors import suppression
from stagetrain.detectors.anchors import anchor_boxes
from stagetrain.detectors.detector import BatchDetections
from stagetrain.detectors.pyramid import BuildHead, PyramidDetector, override
from stagetrain.detectors.replicas import mean_of_replicas, num_replicas
from stagetrain.devices import setup
from stagetrain.images.network_input import Batch, Known

NEGATIVE, IGNORED = -1, -2
"""Class targets of anchors that fit no object, and of those that count neither way."""
TOWERS = {'class': ('cls_convs', 'cls_norms', 'classifier'), 'box': ('box_convs', 'box_norms', 'box_regressor')}
"""Loss term -> the parts of the head that it trains, by their canonical names."""


class RetinaNet(PyramidDetector):
    """A RetinaNet: `backbone`, `decoder`, and `head` with a tower for each loss term."""

    model: options.RetinaNet

    def __init__(self, model: options.RetinaNet, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the `retinanet` options of a pipeline.
          num_classes: classes without background.
          modules: which of `backbone`, `decoder`, `head` to build; the first two always are.
          seed: of the initialisers.
        """
        self.num_classes = num_classes + 1
        self.anchor_boxes: Mapping[str, tf.Tensor] = anchor_boxes(model)
        self._labeler = anchor.AnchorLabeler(
            model.parser.match_threshold, model.parser.unmatched_threshold, model.detection_generator.box_coder_weights
        )
        super().__init__(model, model_garden_config(model, self.num_classes), modules, seed)

    def _heads_on(self, levels: Mapping[str, tf.TensorShape]) -> Mapping[str, BuildHead]:
        """Returns what builds `head`; see `PyramidDetector`."""
        return {'head': functools.partial(self._build_head, levels)}

    def _build_head(self, levels: Mapping[str, tf.TensorShape]) -> dense_prediction_heads.RetinaNetHead:
        head = dense_prediction_heads.RetinaNetHead(
            min_level=self.model.min_level,
            max_level=self.model.max_level,
            num_classes=self.num_classes,
            num_anchors_per_location=len(self.model.anchor.aspect_ratios) * self.model.anchor.num_scales,
            **self.model.head.model_dump(),
            **self._norm_options(),
            kernel_regularizer=self._regularizer(),
        )
        head.build(dict(levels))
        head({level: tf.zeros([1, *shape[1:]]) for level, shape in levels.items()})
        return head

    def reached(self, terms: Sequence[str]) -> set[str]:
        """Returns the variables that `terms` depend on: of the head only their towers; see `Detector.reached`."""
        towers = {part for term in terms for part in TOWERS[term]}
        names = super().reached(terms)
        return {name for name in names if not name.startswith('head/') or name.split('/')[1] in towers}

    def losses(self, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns the Model Garden's losses named in `terms`, over the batch's positive anchors; see `Detector.losses`.

        The Model Garden multiplies the box loss by `losses.box_loss_weight`; here that is the weight of `box`.
        """
        scores, encoded, _ = self.modules['head'](self.features(batch, training=True), training=True)
        options, classes = self.model.losses, tf.cast(batch['targets']['class_targets'], tf.int32)
        positive = tf.cast(classes > 0, tf.float32)
        # One more in the whole batch, as in the Model Garden: there may be none.
        num_positives = mean_of_replicas(tf.reduce_sum(positive)) + 1.0 / num_replicas()
        values = {}
        if 'class' in terms:
            loss = focal_loss.FocalLoss(options.focal_loss_alpha, options.focal_loss_gamma, tf_keras.losses.Reduction.SUM)
            values['class'] = loss(
                tf.one_hot(classes, self.num_classes),
                loss_utils.multi_level_flatten(scores, last_dim=self.num_classes),
                sample_weight=tf.cast(classes > IGNORED, tf.float32) / num_positives,
            )
        if 'box' in terms:
            huber = tf_keras.losses.Huber(options.huber_loss_delta, tf_keras.losses.Reduction.SUM)
            flat = loss_utils.multi_level_flatten(encoded, last_dim=4)
            values['box'] = huber(batch['targets']['box_targets'], flat, sample_weight=positive / num_positives)
        return values

    def detect(self, batch: Batch) -> BatchDetections:
        """Returns detections by suppression within each class; see `Detector.detect`."""
        scores, encoded, _ = self.modules['head'](self.features(batch, training=False), training=False)
        num_images = tf.shape(batch['image_shape'])[0]
        anchors = {level: tf.tile(tensor[tf.newaxis], [num_images, 1, 1, 1]) for level, tensor in self.anchor_boxes.items()}
        found = self._generator(encoded, scores, anchors, batch['image_shape'])
        if self._is_native:
            options = self.model.detection_generator
            return suppression.class_detections(
                found['decoded_boxes'][:, :, 0],
                found['decoded_box_scores'],
                pre_nms_top_k=options.pre_nms_top_k,
                min_score=options.pre_nms_score_threshold,
                nms_iou=options.nms_iou_threshold,
                num_detections=options.max_num_detections,
            )
        return BatchDetections(
            boxes_yxyx_px=found['detection_boxes'],
            scores=found['detection_scores'],
            classes=tf.cast(found['detection_classes'], tf.int32),
            num_valid=tf.cast(found['num_detections'], tf.int32),
        )

    @functools.cached_property
    def _is_native(self) -> bool:
        """Whether TensorFlow's own suppression takes the place of the Model Garden's padded one, with the same result."""
        options = self.model.detection_generator
        return options.nms_version == 'v2' and not options.use_class_agnostic_nms and self.kernels != setup.GENERAL

    @functools.cached_property
    def _generator(self) -> detection_generator.MultilevelDetectionGenerator:
        options = self.model.detection_generator.model_dump(exclude={'apply_nms', 'decode_boxes', 'tflite_post_processing'})
        return detection_generator.MultilevelDetectionGenerator(apply_nms=not self._is_native, **options)

    def match(self, known: Known, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns each anchor's class (or `NEGATIVE`, `IGNORED`) and encoded box; see `Detector.match`."""
        count = known['num_objects']
        classes, encoded, _, class_weights, box_weights = self._labeler.label_anchors(
            self.anchor_boxes, known['gt_boxes'][:count], known['gt_classes'][:count, tf.newaxis]
        )
        flat_classes = tf.concat([tf.reshape(level, [-1]) for level in classes.values()], axis=0)
        flat_boxes = tf.concat([tf.reshape(level, [-1, 4]) for level in encoded.values()], axis=0)
        positive = box_weights > 0
        labels = tf.where(positive, flat_classes, tf.where(class_weights > 0, NEGATIVE, IGNORED))
        matched = {'class_targets': tf.cast(labels, tf.int16)}
        if 'box' in terms:
            matched['box_targets'] = tf.where(positive[:, tf.newaxis], flat_boxes, 0.0)
        return matched


def model_garden_config(model: options.RetinaNet, num_classes: int) -> retinanet_config.RetinaNet:
    """Returns the Model Garden's own config with the same options.

    Args:
      model: the `retinanet` options of a pipeline.
      num_classes: classes with background.
    """
    return override(retinanet_config.RetinaNet(num_classes=num_classes), model)
