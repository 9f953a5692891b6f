"""The networks of `tf_keras.applications` as backbones; their published `.h5` files load by layer name.

    backbone = vgg16(tf_keras.layers.InputSpec(shape=[None, 256, 256, 3]), keras_options.KerasVgg(), l2_weight_decay=5e-4)
    backbone.output_specs['4']            # conv5_3 of the paper: stride 16, 512 channels

Every builder takes the images' `InputSpec` (`[None, height, width, 3]`), the backbone's options, and `l2_weight_decay` as in the
Model Garden's losses: `l2_weight_decay / 2 * sum(kernel ** 2)`, depthwise kernels excepted. It returns an `EndpointModel` and
raises `ConfigError` for an endpoint that is not there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf
import tf_keras

from stagetrain.config.builtin import keras_backbones as keras_options
from stagetrain.detectors import surgery
from stagetrain.detectors.backbones import EndpointModel, with_l2
from stagetrain.errors import ConfigError, suggestion

Endpoints = Mapping[str, str]
"""Level (stride 2^level) -> name of the layer that gives its features."""

VGG16: Endpoints = {
    '1': 'block2_conv2',
    '2': 'block3_conv3',
    '3': 'block4_conv3',
    '4': 'block5_conv3',
    '5': 'block5_pool',
}
VGG19: Endpoints = {
    '1': 'block2_conv2',
    '2': 'block3_conv4',
    '3': 'block4_conv4',
    '4': 'block5_conv4',
    '5': 'block5_pool',
}
RESNET50: Endpoints = {
    '1': 'conv1_relu',
    '2': 'conv2_block3_out',
    '3': 'conv3_block4_out',
    '4': 'conv4_block6_out',
    '5': 'conv5_block3_out',
}
RESNET101: Endpoints = {**RESNET50, '4': 'conv4_block23_out'}
RESNET152: Endpoints = {**RESNET50, '3': 'conv3_block8_out', '4': 'conv4_block36_out'}
MOBILENET_V1: Endpoints = {
    '1': 'conv_pw_1_relu',
    '2': 'conv_pw_3_relu',
    '3': 'conv_pw_5_relu',
    '4': 'conv_pw_11_relu',
    '5': 'conv_pw_13_relu',
}
# The last block of each stride, before the next one expands it; at stride 32 the convolution behind all blocks.
MOBILENET_V2: Endpoints = {
    '1': 'expanded_conv_project_BN',
    '2': 'block_2_add',
    '3': 'block_5_add',
    '4': 'block_12_add',
    '5': 'out_relu',
}
# The last block of each stride: Keras numbers the activations behind the last convolution by what was built before them.
MOBILENET_V3_SMALL: Endpoints = {
    '2': 'expanded_conv/project/BatchNorm',
    '3': 'expanded_conv_2/Add',
    '4': 'expanded_conv_7/Add',
    '5': 'expanded_conv_10/Add',
}
MOBILENET_V3_LARGE: Endpoints = {
    '1': 'expanded_conv/Add',
    '2': 'expanded_conv_2/Add',
    '3': 'expanded_conv_5/Add',
    '4': 'expanded_conv_11/Add',
    '5': 'expanded_conv_14/Add',
}
EFFICIENTNET_B0: Endpoints = {
    '1': 'block1a_project_bn',
    '2': 'block2b_add',
    '3': 'block3b_add',
    '4': 'block5c_add',
    '5': 'top_activation',
}
# `tf_keras.applications.efficientnet.IMAGENET_STDDEV_RGB`.
IMAGENET_STDDEV_RGB = (0.229, 0.224, 0.225)


def vgg16(input_specs: Any, options: keras_options.KerasVgg, l2_weight_decay: float) -> tf_keras.Model:
    """Builds VGG16; level 4 is the paper's conv5_3."""
    network = _application(tf_keras.applications.VGG16, input_specs)
    return _backbone(_with_width(network, options.width), VGG16, options, l2_weight_decay)


def vgg19(input_specs: Any, options: keras_options.KerasVgg, l2_weight_decay: float) -> tf_keras.Model:
    """Builds VGG19; level 4 is conv5_4."""
    network = _application(tf_keras.applications.VGG19, input_specs)
    return _backbone(_with_width(network, options.width), VGG19, options, l2_weight_decay)


def resnet50(input_specs: Any, options: keras_options.KerasBackbone, l2_weight_decay: float) -> tf_keras.Model:
    """Builds ResNet-50; levels 2 to 5 are C2 to C5."""
    return _backbone(_application(tf_keras.applications.ResNet50, input_specs), RESNET50, options, l2_weight_decay)


def resnet101(input_specs: Any, options: keras_options.KerasBackbone, l2_weight_decay: float) -> tf_keras.Model:
    """Builds ResNet-101; levels 2 to 5 are C2 to C5."""
    return _backbone(_application(tf_keras.applications.ResNet101, input_specs), RESNET101, options, l2_weight_decay)


def resnet152(input_specs: Any, options: keras_options.KerasBackbone, l2_weight_decay: float) -> tf_keras.Model:
    """Builds ResNet-152; levels 2 to 5 are C2 to C5."""
    return _backbone(_application(tf_keras.applications.ResNet152, input_specs), RESNET152, options, l2_weight_decay)


def mobilenet_v1(input_specs: Any, options: keras_options.KerasMobileNetV1, l2_weight_decay: float) -> tf_keras.Model:
    """Builds MobileNet v1 with endpoints at strides 2 to 32."""
    network = _application(tf_keras.applications.MobileNet, input_specs, alpha=options.alpha)
    return _backbone(network, MOBILENET_V1, options, l2_weight_decay)


def mobilenet_v2(input_specs: Any, options: keras_options.KerasMobileNet, l2_weight_decay: float) -> tf_keras.Model:
    """Builds MobileNetV2; level 5 is its last convolution."""
    network = _application(tf_keras.applications.MobileNetV2, input_specs, alpha=options.alpha)
    return _backbone(network, MOBILENET_V2, options, l2_weight_decay)


def mobilenet_v3_small(input_specs: Any, options: keras_options.KerasMobileNetV3, l2_weight_decay: float) -> tf_keras.Model:
    """Builds MobileNetV3 small, which takes pixels in [0, 255]; it has no level 1."""
    network = _application(
        tf_keras.applications.MobileNetV3Small, input_specs, alpha=options.alpha, minimalistic=options.minimalistic
    )
    return _backbone(network, MOBILENET_V3_SMALL, options, l2_weight_decay)


def mobilenet_v3_large(input_specs: Any, options: keras_options.KerasMobileNetV3, l2_weight_decay: float) -> tf_keras.Model:
    """Builds MobileNetV3 large, which takes pixels in [0, 255]."""
    network = _application(
        tf_keras.applications.MobileNetV3Large, input_specs, alpha=options.alpha, minimalistic=options.minimalistic
    )
    return _backbone(network, MOBILENET_V3_LARGE, options, l2_weight_decay)


def efficientnet_b0(input_specs: Any, options: keras_options.KerasEfficientNet, l2_weight_decay: float) -> tf_keras.Model:
    """Builds EfficientNet-B0, which takes pixels in [0, 255], without its random dropping of whole blocks.

    Dropping uses stateful random numbers, so that a resumed stage would end with other weights.
    """
    network = _application(tf_keras.applications.EfficientNetB0, input_specs, drop_connect_rate=0.0)

    def change(layer: tf_keras.layers.Layer, config: dict[str, Any]) -> tf_keras.layers.Layer:
        if isinstance(layer, tf_keras.layers.Normalization):
            return ImageNormalization(options.imagenet_rescaling, name=layer.name)
        return type(layer).from_config(config)

    return _backbone(_rebuilt(network, change), EFFICIENTNET_B0, options, l2_weight_decay)


@tf_keras.utils.register_keras_serializable(package='stagetrain')
class ImageNormalization(tf_keras.layers.Layer):
    """`tf_keras.layers.Normalization` that reads its variables whenever it is called.

    Keras' own layer keeps their values as constants from the time when it was built, so that assigning weights changes nothing.
    """

    def __init__(self, imagenet_rescaling: bool, **kwargs: Any):
        """Args: imagenet_rescaling: divide by the roots of ImageNet's deviations too, as Keras does for `weights='imagenet'`."""
        super().__init__(**kwargs)
        self._imagenet_rescaling = imagenet_rescaling

    def build(self, input_shape: Any) -> None:
        """Makes `mean` and `variance`, float32 `[channels]`."""
        self.mean = self.add_weight('mean', shape=[input_shape[-1]], initializer='zeros', trainable=False)
        self.variance = self.add_weight('variance', shape=[input_shape[-1]], initializer='ones', trainable=False)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[B, H, W, channels]`, normalised."""
        outputs = (inputs - self.mean) / tf.maximum(tf.sqrt(self.variance), tf_keras.backend.epsilon())
        if self._imagenet_rescaling:
            outputs = outputs * tf.constant([1.0 / math.sqrt(value) for value in IMAGENET_STDDEV_RGB])
        return outputs

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` takes."""
        return {**super().get_config(), 'imagenet_rescaling': self._imagenet_rescaling}


def _application(build: Callable[..., tf_keras.Model], input_specs: Any, **options: Any) -> tf_keras.Model:
    return build(input_shape=tuple(input_specs.shape[1:]), include_top=False, weights=None, **options)


def _backbone(
    network: tf_keras.Model, endpoints: Endpoints, options: keras_options.KerasBackbone, l2_weight_decay: float
) -> tf_keras.Model:
    changed = surgery.operate(network, options.surgery)
    network = with_l2(changed.network, l2_weight_decay)
    layers = {layer.name for layer in network.layers}
    chosen = options.endpoints or {level: name for level, name in _moved(endpoints, changed).items() if name in layers}
    for level, name in chosen.items():
        if name not in layers:
            raise ConfigError(
                f"model.backbone: endpoints.{level}: no layer '{name}' in {network.name} ({len(layers)} layers)."
                f'{suggestion(name, layers)}'
            )
        _require_stride(network, level, name)
    outputs = {level: network.get_layer(name).output for level, name in chosen.items()}
    backbone = EndpointModel(network.inputs, outputs, new_layers=changed.new_layers if options.surgery else None)
    unread = sorted(changed.new_layers - {layer.name for layer in backbone.layers})
    if unread:
        raise ConfigError(
            f"{surgery.PLACE}: no endpoint reads '{unread[0]}', so it would not be built; name a level for it, as in "
            f"endpoints: {{'4': {unread[-1]}}}"
        )
    return backbone


def _moved(endpoints: Endpoints, changed: surgery.Changed) -> Endpoints:
    """Returns the usual endpoints, each at the layer that has taken its place."""

    def last(name: str) -> str:
        return last(changed.moved[name]) if name in changed.moved else name

    return {level: last(name) for level, name in endpoints.items()}


def _require_stride(network: tf_keras.Model, level: str, name: str) -> None:
    """The decoder and the anchors take it that features of level l have stride 2^l."""
    expected = [math.ceil(size / 2 ** int(level)) for size in network.input_shape[1:3]]
    found = list(network.get_layer(name).output.shape[1:3])
    if found != expected:
        image = 'x'.join(map(str, network.input_shape[1:3]))
        raise ConfigError(
            f"model.backbone: endpoints.{level}: '{name}' gives features of {found[0]}x{found[1]} for images of {image}; "
            f'expected {expected[0]}x{expected[1]}, a stride of {2 ** int(level)}'
        )


def _rebuilt(
    network: tf_keras.Model, change: Callable[[tf_keras.layers.Layer, dict[str, Any]], tf_keras.layers.Layer]
) -> tf_keras.Model:
    return tf_keras.models.clone_model(network, clone_function=lambda layer: change(layer, layer.get_config()))


def _with_width(network: tf_keras.Model, width: float) -> tf_keras.Model:
    """Returns the network with `width` times as many filters in every convolution."""
    if width == 1.0:
        return network

    def change(layer: tf_keras.layers.Layer, config: dict[str, Any]) -> tf_keras.layers.Layer:
        if 'filters' in config:
            config['filters'] = max(1, round(config['filters'] * width))
        return type(layer).from_config(config)

    return _rebuilt(network, change)
