"""The heads of Faster R-CNN's paper (Ren et al. 2015): plain layers, without the BatchNorm of the Model Garden's heads.

Layers have the names of their published weight files: `fc1`, `fc2` and `conv5_*` those of Keras, which load by name; the new ones
those of py-faster-rcnn. New layers start as in section 3.1.3 and in Fast R-CNN (Girshick 2015, section 2.3): normal deviates of
0.01, and of 0.001 for the boxes of the detector.

B images, R RoIs, S x S points of a RoI, C channels, A anchors at a place, K classes with background.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import tensorflow as tf
import tf_keras

from stagetrain.detectors.backbones import with_l2

Regularizer = Any
"""A `tf_keras.regularizers.Regularizer`, or None."""
STRIDE = 16
"""Of conv5_3 in VGG16, and of C4 in ResNet."""
C4_CHANNELS, C5_CHANNELS = 1024, 2048
"""Of ResNet's last two stages."""


def rpn_head(num_channels: int, num_filters: int, num_anchors: int, regularizer: Regularizer) -> tf_keras.Model:
    """Builds the region proposal network behind the backbone.

    Args:
      num_channels: C of its input.
      num_filters: of the 3x3 convolution.
      num_anchors: A.
      regularizer: of all kernels.

    Returns:
      A model: float32 `[B, h, w, C]` -> scores (logits) `[B, h, w, A]`, encoded boxes `[B, h, w, A * 4]`. An anchor's two scores
      are one here, as section 3.1.1 of the paper allows (logistic regression).
    """

    def convolution(name: str, filters: int, size: int, activation: str | None) -> tf_keras.layers.Conv2D:
        return tf_keras.layers.Conv2D(
            filters,
            size,
            padding='same',
            activation=activation,
            kernel_initializer=tf_keras.initializers.RandomNormal(stddev=0.01),
            kernel_regularizer=regularizer,
            name=name,
        )

    features = tf_keras.Input([None, None, num_channels])
    hidden = convolution('rpn_conv', num_filters, 3, 'relu')(features)
    scores = convolution('rpn_cls_score', num_anchors, 1, None)(hidden)
    encoded = convolution('rpn_bbox_pred', num_anchors * 4, 1, None)(hidden)
    return tf_keras.Model(features, [scores, encoded], name='rpn_head')


class RoiHead(abc.ABC):
    """What is computed on the features of each RoI in front of the classifier."""

    module: tf_keras.Model
    """Its layers, under the names of the weight files."""

    @abc.abstractmethod
    def __call__(self, features: tf.Tensor, seeds: tf.Tensor | None, training: bool) -> tf.Tensor:
        """Returns float32 `[B, R, fc_dims]`, or `[B, R, 2048]` behind C5.

        Args:
          features: float32 `[B, R, S, S, C]`.
          seeds: int32 `[B, 2]`, which decide what training leaves out; None when not training.
          training: whether it runs in training mode.
        """


class FullyConnected(RoiHead):
    """VGG16's two fully connected layers, with dropout that a resumed stage repeats."""

    def __init__(self, num_inputs: int, fc_dims: int, dropout: float, regularizer: Regularizer):
        """Args: num_inputs: S * S * C; fc_dims: units of each layer; dropout: share left out in training."""
        self._dropout = dropout
        inputs = outputs = tf_keras.Input([None, num_inputs])
        for name in ('fc1', 'fc2'):
            outputs = tf_keras.layers.Dense(fc_dims, 'relu', kernel_regularizer=regularizer, name=name)(outputs)
        self.module = tf_keras.Model(inputs, outputs, name='roi_head')

    def __call__(self, features: tf.Tensor, seeds: tf.Tensor | None, training: bool) -> tf.Tensor:
        """See `RoiHead`."""
        outputs = tf.reshape(features, [-1, features.shape[1], math.prod(features.shape[2:])])
        for number, name in enumerate(('fc1', 'fc2')):
            outputs = self.module.get_layer(name)(outputs)
            if training and self._dropout:
                assert seeds is not None
                outputs *= _kept(outputs, self._dropout, seeds, number)
        return outputs


def _kept(outputs: tf.Tensor, dropout: float, seeds: tf.Tensor, number: int) -> tf.Tensor:
    """Returns float32 like `outputs`: 0 for what is left out, else what keeps the mean. Each layer draws numbers of its own."""

    def draw(seed: tf.Tensor) -> tf.Tensor:
        own = tf.random.experimental.stateless_fold_in(seed, number)
        return tf.random.stateless_uniform([outputs.shape[1], outputs.shape[2]], own)

    kept = tf.map_fn(draw, seeds, fn_output_signature=tf.float32) >= dropout
    return tf.cast(kept, tf.float32) / (1.0 - dropout)


class ResNetC5(RoiHead):
    """The last stage of ResNet-50 (that of ResNet-101 is the same) and its mean over the RoI (He et al. 2016, appendix A)."""

    def __init__(self, crop_size: int, l2_weight_decay: float):
        """Args: crop_size: S; l2_weight_decay: of all kernels, as in the Model Garden's losses."""
        size = crop_size * STRIDE
        network = tf_keras.applications.ResNet50(input_shape=(size, size, 3), include_top=False, weights=None, pooling='avg')
        network = with_l2(network, l2_weight_decay)
        self.module = tf_keras.Model(network.get_layer('conv4_block6_out').output, network.output, name='roi_head')

    def __call__(self, features: tf.Tensor, seeds: tf.Tensor | None, training: bool) -> tf.Tensor:
        """See `RoiHead`; nothing is random here."""
        outputs = self.module(tf.reshape(features, [-1, *features.shape[2:]]), training=training)
        return tf.reshape(outputs, [-1, features.shape[1], outputs.shape[-1]])


def detection_head(num_inputs: int, num_classes: int, regularizer: Regularizer) -> tf_keras.Model:
    """Builds the classifier and the box regression of each class.

    Args:
      num_inputs: outputs of the RoI head.
      num_classes: K.
      regularizer: of both kernels.

    Returns:
      A model: float32 `[B, R, num_inputs]` -> logits `[B, R, K]`, encoded boxes `[B, R, K * 4]`.
    """

    def dense(name: str, units: int, deviation: float) -> tf_keras.layers.Dense:
        initializer = tf_keras.initializers.RandomNormal(stddev=deviation)
        return tf_keras.layers.Dense(units, kernel_initializer=initializer, kernel_regularizer=regularizer, name=name)

    inputs = tf_keras.Input([None, num_inputs])
    outputs = [dense('cls_score', num_classes, 0.01)(inputs), dense('bbox_pred', num_classes * 4, 0.001)(inputs)]
    return tf_keras.Model(inputs, outputs, name='detection_head')
