"""Backbones that the Model Garden does not have, as models with an output for each pyramid level.

A backbone built here keeps the layer names of its published weight files, so that these load by name, and takes images that the
input pipeline has normalised in the way the weights were trained (`BackboneSpec.preprocessing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras


@tf_keras.utils.register_keras_serializable(package='stagetrain')
class EndpointModel(tf_keras.Model):
    """A functional model whose outputs are the last features of each stride, as the Model Garden's decoders expect."""

    def __init__(self, inputs: Any, endpoints: Mapping[str, Any], new_layers: frozenset[str] | None = None, **kwargs: Any):
        """Stores what is read.

        Args:
          inputs: the model's input tensor.
          endpoints: level (stride 2^level) -> tensor.
          new_layers: names of the layers that the published network does not have; None: it is the published network, so that
            files that count its layers fit.
          **kwargs: of `tf_keras.Model`.
        """
        super().__init__(inputs=inputs, outputs=dict(endpoints), **kwargs)
        self._output_specs = {level: tensor.shape for level, tensor in endpoints.items()}
        self.new_layers = new_layers

    @property
    def output_specs(self) -> Mapping[str, tf.TensorShape]:
        """Level -> shape of its output."""
        return self._output_specs


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
