"""The networks of `tf_keras.applications` as backbones: their options, and the choice of a backbone.

backbone: {type: keras_vgg16, keras_vgg16: {endpoints: {'4': block5_conv3}}}
"""

from __future__ import annotations

from typing import Annotated

import pydantic

from stagetrain.config import options, specs
from stagetrain.config.contracts import BuildBackbone, CodePlace
from stagetrain.config.model_garden import backbones
from stagetrain.config.surgery import Operation


class KerasBackbone(options.Strict):
    """A network of `tf_keras.applications`, whose published `.h5` files load by layer name."""

    endpoints: dict[Annotated[str, pydantic.Field(pattern=r'^[1-9]$')], str] = pydantic.Field(default_factory=dict)
    """Level (stride 2^level, as text) -> layer that gives its features, in place of the usual ones."""
    surgery: list[Operation] = pydantic.Field(default_factory=list)
    """Layers left out, put in or replaced, in this order; all others keep their names and published weights."""


class KerasVgg(KerasBackbone):
    """`tf_keras.applications.VGG16` or `VGG19`; level 4 is the paper's conv5_3, or conv5_4."""

    width: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Multiplies the filters of every convolution; published weights fit 1.0 only."""


class KerasMobileNetV1(KerasBackbone):
    """`tf_keras.applications.MobileNet`: the network that the published ImageNet `.h5` files hold."""

    alpha: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Width multiplier, as in the weight file's name: 0.25, 0.5, 0.75 or 1.0."""


class KerasMobileNet(KerasBackbone):
    """`tf_keras.applications.MobileNetV2`."""

    alpha: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Width multiplier, as in the weight file's name."""


class KerasMobileNetV3(KerasMobileNet):
    """`tf_keras.applications.MobileNetV3Small` or `MobileNetV3Large`, which normalise images inside."""

    minimalistic: bool = False
    """Without squeeze-and-excitation, hard-swish and 5x5 convolutions; its weight files say `minimalistic`."""


class KerasEfficientNet(KerasBackbone):
    """`tf_keras.applications.EfficientNetB0`, which normalises images inside; without random dropping of blocks."""

    imagenet_rescaling: bool = True
    """Rescale the normalised image as Keras does for `weights='imagenet'` only: the published ImageNet weights need it; weights
    that were trained from `weights=None` must not have it."""


class Backbone(backbones.Backbone):
    """The network whose features everything else reads, by `type`: the Model Garden's, Keras', and what is registered besides."""

    keras_vgg16: KerasVgg = options.defaults()
    keras_vgg19: KerasVgg = options.defaults()
    keras_resnet50: KerasBackbone = options.defaults()
    keras_resnet101: KerasBackbone = options.defaults()
    keras_resnet152: KerasBackbone = options.defaults()
    keras_mobilenet_v1: KerasMobileNetV1 = options.defaults()
    keras_mobilenet_v2: KerasMobileNet = options.defaults()
    keras_mobilenet_v3_small: KerasMobileNetV3 = options.defaults()
    keras_mobilenet_v3_large: KerasMobileNetV3 = options.defaults()
    keras_efficientnet_b0: KerasEfficientNet = options.defaults()


for _name, _options, _preprocessing in (
    ('vgg16', KerasVgg, 'bgr_mean'),
    ('vgg19', KerasVgg, 'bgr_mean'),
    ('resnet50', KerasBackbone, 'bgr_mean'),
    ('resnet101', KerasBackbone, 'bgr_mean'),
    ('resnet152', KerasBackbone, 'bgr_mean'),
    ('mobilenet_v1', KerasMobileNetV1, 'scale_to_one'),
    ('mobilenet_v2', KerasMobileNet, 'scale_to_one'),
    ('mobilenet_v3_small', KerasMobileNetV3, 'none'),
    ('mobilenet_v3_large', KerasMobileNetV3, 'none'),
    ('efficientnet_b0', KerasEfficientNet, 'none'),
):
    _build: CodePlace[BuildBackbone] = CodePlace(f'stagetrain.detectors.keras_backbones:{_name}')
    specs.register_backbone(specs.BackboneSpec(f'keras_{_name}', _options, _build, _preprocessing))
