"""Faster R-CNN in the shape of its paper (Ren et al. 2015): one scale, plain heads, the last layers of the ImageNet network.

    backbone        VGG16 up to conv5_3, or ResNet up to C4: stride 16
    rpn_head        3x3 convolution, score and box of 9 anchors at each place
    roi_head        fc1 and fc2 of VGG16 (fc6 and fc7 in Caffe), or C5 of ResNet, on the features of each RoI
    detection_head  classifier, and box regression for each class

Losses are the paper's too: smooth L1 (Girshick 2015, equation 3), divided by what was sampled and not by the positives among it.

B images, R sampled RoIs, S x S points of a RoI, C channels, A anchors at a place, K classes with background.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import tensorflow as tf
import tf_keras
from official.vision.losses import maskrcnn_losses

from stagetrain.config.builtin import faster_rcnn_single_scale as options
from stagetrain.detectors import region_heads
from stagetrain.detectors.anchors import RpnTargets, single_scale_anchors
from stagetrain.detectors.pyramid import BuildHead
from stagetrain.detectors.roi_sampler import BOX_WEIGHTS, Rois
from stagetrain.detectors.two_stage import Classified, Levels, TwoStageDetector, each_alone
from stagetrain.errors import ConfigError
from stagetrain.images.network_input import Batch


class FasterRcnnSingleScale(TwoStageDetector):
    """A single-scale Faster R-CNN that holds only the modules it was asked for."""

    model: options.FasterRcnnSingleScale

    def __init__(self, model: options.FasterRcnnSingleScale, num_classes: int, modules: Sequence[str], seed: int):
        """Builds the modules with initial values that depend on `seed` alone.

        Args:
          model: the `faster_rcnn_single_scale` options of a pipeline.
          num_classes: classes without background.
          modules: which of `backbone`, `rpn_head`, `roi_head`, `detection_head` to build; the first always is.
          seed: of the initialisers.
        """
        self._level = str(model.max_level)
        rpn_targets = RpnTargets(model.parser, single_scale_anchors(model), model.anchor.allowed_border)
        super().__init__(model, None, num_classes, modules, seed, rpn_targets)

    # ---- building -------------------------------------------------------------------------------------------------------

    def _build_decoder(self, levels: Mapping[str, tf.TensorShape]) -> tf_keras.Model | None:
        """There is none: the heads read the backbone."""
        return None

    def _heads_on(self, levels: Mapping[str, tf.TensorShape]) -> Mapping[str, BuildHead]:
        """Returns what builds `rpn_head`, `roi_head` and `detection_head`; see `PyramidDetector`."""
        num_channels, options = levels[self._level][-1], self.model.roi_head
        num_anchors = len(self.model.anchor.sizes) * len(self.model.anchor.aspect_ratios)
        num_inputs = region_heads.C5_CHANNELS if options.type == 'resnet_c5' else options.fc.fc_dims

        def roi_head() -> tf_keras.Model:
            self._roi_head = self._build_roi_head(num_channels)
            return self._roi_head.module

        return {
            'rpn_head': lambda: region_heads.rpn_head(
                num_channels, self.model.rpn_head.num_filters, num_anchors, self._regularizer()
            ),
            'roi_head': roi_head,
            'detection_head': lambda: region_heads.detection_head(num_inputs, self.num_classes, self._regularizer()),
        }

    def _build_roi_head(self, num_channels: int) -> region_heads.RoiHead:
        options = self.model.roi_head
        size = self.model.roi_aligner.crop_size // self.model.roi_aligner.pool_size
        if options.type == 'resnet_c5':
            if num_channels != region_heads.C4_CHANNELS:
                raise ConfigError(
                    f'model.roi_head: resnet_c5 reads {region_heads.C4_CHANNELS} channels, but the backbone gives '
                    f'{num_channels}; use a ResNet-50 or 101 up to C4, or roi_head: {{type: fc}}'
                )
            return region_heads.ResNetC5(size, self.model.losses.l2_weight_decay)
        num_inputs = size * size * num_channels
        return region_heads.FullyConnected(num_inputs, options.fc.fc_dims, options.fc.dropout, self._regularizer())

    # ---- computing ------------------------------------------------------------------------------------------------------

    def rpn(self, features: Levels, training: bool) -> tuple[Levels, Levels]:
        """See `TwoStageDetector.rpn`."""
        scores, encoded = self.modules['rpn_head'](features[self._level], training=training)
        return {self._level: scores}, {self._level: encoded}

    def rpn_losses(self, scores: Levels, encoded: Levels, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns `rpn_score` and `rpn_box` as asked: sums over the sampled anchors, divided by `parser.rpn_batch_size_per_im`.

        The paper divides the box loss by the number of places, about 2400, and weighs it by 10: nearly the same (section 3.1.2).
        """
        num_sampled = self.model.parser.rpn_batch_size_per_im
        values = {}
        if 'rpn_score' in terms:
            loss = maskrcnn_losses.RpnScoreLoss(num_sampled)
            values['rpn_score'] = tf.reduce_mean(loss(scores, batch['targets']['rpn_score_targets']))
        if 'rpn_box' in terms:
            positive = tf.equal(batch['targets']['rpn_score_targets'][self._level], 1)
            found, wanted = (_boxes_last(part[self._level]) for part in (encoded, batch['targets']['rpn_box_targets']))
            values['rpn_box'] = box_loss(found, wanted, positive, self.model.losses.rpn_huber_loss_delta, num_sampled)
        return values

    def head_losses(self, features: Levels, rois: Rois, batch: Batch, terms: Sequence[str]) -> dict[str, tf.Tensor]:
        """Returns `frcnn_class` and `frcnn_box` as asked: means over the sampled RoIs."""
        logits, encoded = self._heads(self.roi_features(features, rois.boxes), batch['seed'], training=True)
        values = {}
        if 'frcnn_class' in terms:
            values['frcnn_class'] = self.class_loss(logits, rois)
        if 'frcnn_box' in terms:
            own = tf.einsum('brki,brk->bri', _boxes_last(encoded), tf.one_hot(rois.classes, self.num_classes))
            delta, num_sampled = self.model.losses.frcnn_huber_loss_delta, self.model.roi_sampler.num_sampled_rois
            values['frcnn_box'] = box_loss(own, rois.encoded, rois.classes > 0, delta, num_sampled)
        return values

    def classify(self, features: Levels, rois: tf.Tensor, image_shape: tf.Tensor) -> Classified:
        """See `TwoStageDetector.classify`."""
        heads = functools.partial(self._heads, seeds=None, training=False)
        logits, encoded = each_alone(heads, self.roi_features(features, rois))
        return Classified(rois, logits, encoded, BOX_WEIGHTS)

    def _heads(self, crops: tf.Tensor, seeds: tf.Tensor | None, training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = self._roi_head(self._pooled(crops), seeds, training)
        return self.modules['detection_head'](outputs, training=training)

    def _pooled(self, features: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[B, R, S, S, C]`: the maxima of the points that were cut out."""
        pool_size = self.model.roi_aligner.pool_size
        if pool_size == 1:
            return features
        flat = tf.reshape(features, [-1, *features.shape[2:]])
        pooled = tf.nn.max_pool2d(flat, pool_size, pool_size, 'VALID')
        return tf.reshape(pooled, [-1, features.shape[1], *pooled.shape[1:]])


def _boxes_last(encoded: tf.Tensor) -> tf.Tensor:
    """Returns `[..., N, 4]` of `[..., N * 4]`."""
    return tf.reshape(encoded, [-1, *encoded.shape[1:-1], encoded.shape[-1] // 4, 4])


def box_loss(found: tf.Tensor, wanted: tf.Tensor, positive: tf.Tensor, delta: float, num_sampled: int) -> tf.Tensor:
    """Returns the smooth L1 of positives, summed over the four numbers of a box, divided by what was sampled.

    Args:
      found: float32 `[B, ..., 4]`.
      wanted: float32 `[B, ..., 4]`.
      positive: bool `[B, ...]`.
      delta: where the square turns into a line: 1 / sigma ** 2 in the terms of py-faster-rcnn.
      num_sampled: for each image.
    """
    error = tf.abs(found - wanted)
    smooth = tf.where(error < delta, 0.5 * tf.square(error) / delta, error - 0.5 * delta)
    total = tf.reduce_sum(tf.where(positive[..., tf.newaxis], smooth, 0.0))
    return total / tf.cast(tf.shape(found)[0] * num_sampled, tf.float32)
