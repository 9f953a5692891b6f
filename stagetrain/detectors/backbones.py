"""Backbones that the Model Garden does not have, as models with an output for each pyramid level.

A backbone built here keeps the layer names of its published weight files, so that these load by name, and takes images that the
input pipeline has normalised in the way the weights were trained (`PREPROCESSING`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras

PREPROCESSING: Mapping[str, str] = {'keras_mobilenet_v1': 'scale_to_one'}
"""Registered backbone -> the normalisation of its weights; all others: `imagenet_mean_std`, the Model Garden's."""


def normalize(image: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Normalises float32 `[..., 3]` RGB values in [0, 255].

    `imagenet_mean_std`: the Model Garden's `preprocess_ops.normalize_image`; `scale_to_one`: to [-1, 1], as
    `tf_keras.applications.mobilenet.preprocess_input`.
    """
    if preprocessing == 'scale_to_one':
        return image / 127.5 - 1.0
    assert preprocessing == 'imagenet_mean_std', preprocessing
    mean = tf.constant([0.485 * 255, 0.456 * 255, 0.406 * 255])
    deviation = tf.constant([0.229 * 255, 0.224 * 255, 0.225 * 255])
    return (image - mean) / deviation


@tf_keras.utils.register_keras_serializable(package='stagetrain')
class EndpointModel(tf_keras.Model):
    """A functional model whose outputs are the last features of each stride, as the Model Garden's decoders expect."""

    def __init__(self, inputs: Any, endpoints: Mapping[str, Any], **kwargs: Any):
        """Args: inputs: the model's input tensor; endpoints: level (stride 2^level) -> tensor."""
        super().__init__(inputs=inputs, outputs=dict(endpoints), **kwargs)
        self._output_specs = {level: tensor.shape for level, tensor in endpoints.items()}

    @property
    def output_specs(self) -> Mapping[str, tf.TensorShape]:
        """Level -> shape of its output."""
        return self._output_specs


def keras_mobilenet_v1(input_specs: Any, options: Any, l2_weight_decay: float) -> tf_keras.Model:
    """Builds `tf_keras.applications.MobileNet` without its top, with endpoints at strides 2 to 32.

    Args:
      input_specs: the images' `InputSpec`, `[None, height, width, 3]`.
      options: `KerasMobileNetV1`.
      l2_weight_decay: as in the Model Garden's losses: `l2_weight_decay / 2 * sum(kernel ** 2)`, depthwise kernels excepted.
    """
    network = tf_keras.applications.MobileNet(
        input_shape=tuple(input_specs.shape[1:]), alpha=options.alpha, include_top=False, weights=None
    )
    network = with_l2(network, l2_weight_decay)
    last = {'1': 'conv_pw_1_relu', '2': 'conv_pw_3_relu', '3': 'conv_pw_5_relu', '4': 'conv_pw_11_relu', '5': 'conv_pw_13_relu'}
    return EndpointModel(network.inputs, {level: network.get_layer(name).output for level, name in last.items()})


def with_l2(network: tf_keras.Model, l2_weight_decay: float) -> tf_keras.Model:
    """Returns the network built anew with L2 on every convolution and dense kernel but depthwise ones."""
    if not l2_weight_decay:
        return network
    regularizer = tf_keras.regularizers.l2(l2_weight_decay / 2.0)

    def clone(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        config = layer.get_config()
        if 'kernel_regularizer' in config and not isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            config['kernel_regularizer'] = tf_keras.regularizers.serialize(regularizer)
        return type(layer).from_config(config)

    return tf_keras.models.clone_model(network, clone_function=clone)
