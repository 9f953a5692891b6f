"""The branch of Mask R-CNN (He et al. 2017) from the Model Garden's parts: mask head, sampler, aligner, loss.

B images, R sampled RoIs, D detections, G ground-truth boxes, S side of a truth mask, m side of a predicted mask.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from official.vision.losses import maskrcnn_losses
from official.vision.modeling.heads import instance_heads
from official.vision.modeling.layers import mask_sampler

from stagetrain.config.builtin.mask_rcnn import MaskRcnn
from stagetrain.detectors.replicas import with_one_margin
from stagetrain.detectors.roi_align import Aligner
from stagetrain.detectors.roi_sampler import Rois
from stagetrain.images.network_input import Batch


class MaskBranch:
    """What is done with masks; the head itself is a module of the detector."""

    def __init__(self, model: MaskRcnn):
        """Args: model: the `mask_rcnn` options of a pipeline."""
        self._crop_size, self._head_options = model.mask_roi_aligner.crop_size, model.mask_head
        self._roi_features = Aligner(self._crop_size, model.mask_roi_aligner.sample_offset)
        self._num_sampled_masks = model.mask_sampler.num_sampled_masks

    def build_head(self, num_classes: int, num_filters: int, **options: Any) -> instance_heads.MaskHead:
        """Returns the built head.

        Args:
          num_classes: with background.
          num_filters: channels of the features.
          **options: of its normalisation, activation and regularisation, as the Model Garden's head takes them.
        """
        head = instance_heads.MaskHead(num_classes=num_classes, **self._head_options.model_dump(), **options)
        head([tf.zeros([1, 1, self._crop_size, self._crop_size, num_filters]), tf.zeros([1, 1], tf.int32)])
        return head

    def loss(self, head: Any, features: Any, rois: Rois, batch: Batch) -> tf.Tensor:
        """Returns the Model Garden's mask loss, on the positive ones among the sampled RoIs.

        Args:
          head: from `build_head`.
          features: level -> `[B, h, w, C]`.
          rois: sampled for the detection head.
          batch: with `gt_boxes` float32 `[B, G, 4]` and `gt_masks` float32 `[B, G, S, S]`.
        """
        matched = tf.gather(batch['gt_boxes'], tf.maximum(rois.matches, 0), batch_dims=1)
        sampler = mask_sampler.MaskSampler(
            mask_target_size=self._crop_size * self._head_options.upsample_factor,
            num_sampled_masks=min(self._num_sampled_masks, int(rois.boxes.shape[1])),
        )
        sampled, classes, targets = sampler(rois.boxes, matched, rois.classes, rois.matches, batch['gt_masks'])
        logits = head([self._roi_features(features, sampled), classes], training=True)
        own = tf.reduce_mean(maskrcnn_losses.MaskrcnnLoss()(logits, tf.stop_gradient(targets), classes))
        num_points = float(logits.shape[2] * logits.shape[3])
        return with_one_margin(own, lambda: num_points * tf.reduce_sum(tf.cast(classes > 0, tf.float32)))

    def predict(self, head: Any, features: Any, detected: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
        """Returns probabilities float32 `[B, D, m, m]` inside boxes float32 `[B, D, 4]` of classes int32 `[B, D]`."""
        return tf.nn.sigmoid(head([self._roi_features(features, detected), classes], training=False))
