"""The options of `model: {type: faster_rcnn_single_scale}`: Faster R-CNN in the shape of its paper (Ren et al. 2015).

model:
  type: faster_rcnn_single_scale
  input_size: [1008, 1008, 3]
  backbone: {type: keras_vgg16, keras_vgg16: {endpoints: {'4': block5_conv3}}}
  roi_head: {type: fc}

Defaults are the paper's, or those of its Caffe code (py-faster-rcnn) where the paper is silent.
"""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic
from pydantic import Field

from stagetrain.config import options, specs, two_stage
from stagetrain.config.augmentation import FIXED_IN_PARSERS
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.contracts import CodePlace
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.model_garden import networks

_RPN = ('backbone', 'rpn_head')
_HEAD = ('backbone', 'roi_head', 'detection_head')
Positive = Annotated[int, Field(gt=0)]
Size = Annotated[float, Field(gt=0)]


class Anchors(options.Strict):
    """The anchors at each place of the feature map: every size with every aspect ratio."""

    sizes: Annotated[list[Size], Field(min_length=1)] = Field(default_factory=lambda: [128.0, 256.0, 512.0])
    """Side of the square anchor, the root of the others' area, in pixels of the scaled image."""
    aspect_ratios: Annotated[list[Size], Field(min_length=1)] = Field(default_factory=lambda: [0.5, 1.0, 2.0])
    """Width over height."""
    allowed_border: Annotated[float, Field(ge=0)] | None = 0.0
    """Training ignores anchors that leave the image by more pixels (section 3.3); `null` keeps them all."""


class RpnHead(options.Strict):
    """A 3x3 convolution, and a score and four numbers for each anchor."""

    num_filters: Positive = 512
    """Of the 3x3 convolution: 512 on VGG16, 256 on ZF."""


class FullyConnected(options.Strict):
    """`fc1` and `fc2` of VGG16, called fc6 and fc7 in Caffe; a Keras `.h5` with top has both."""

    fc_dims: Positive = 4096
    """Units of each layer; published weights fit 4096 only."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of units left out behind each layer in training."""


class ResNetC5(options.Strict):
    """The last stage of ResNet-50 or 101 (`conv5_*`) and its global mean; a Keras `.h5` has it. It halves the RoI's features."""


class RoiHead(options.OneOf):
    """What is computed on the features of each RoI, with weights of the ImageNet network."""

    fc: FullyConnected = Field(default_factory=FullyConnected)
    """VGG16's."""
    resnet_c5: ResNetC5 = Field(default_factory=ResNetC5)
    """ResNet's; its backbone ends at `conv4`."""


class RoiAligner(options.Strict):
    """How a RoI's features are cut out."""

    crop_size: Positive = 7
    """Points a side, each by bilinear interpolation."""
    sample_offset: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Where in its cell a point lies."""
    pool_size: Positive = 1
    """Maxima are taken over so many points a side: `crop_size: 14, pool_size: 2` gives 7x7, as tf-faster-rcnn does in place of
    the paper's RoI max pooling."""

    @pydantic.model_validator(mode='after')
    def _whole_pools(self) -> RoiAligner:
        if self.crop_size % self.pool_size:
            raise ValueError(f'pool_size: found {self.pool_size}; expected a divisor of crop_size, which is {self.crop_size}')
        return self


class Parser(two_stage.Parser):
    """How images and targets are prepared."""

    shorter_side: Positive | None = None
    """Pixels that the shorter side of an image is scaled to, as far as the longer one then fits into `input_size` (the paper: 600
    and 1000); `null` scales images to fit."""


class FasterRcnnSingleScale(networks.FasterRcnnSingleScale, DetectorOptions):
    """Faster R-CNN on features of one scale, in the shape of its paper."""

    type: Literal['faster_rcnn_single_scale']
    backbone: Backbone = options.defaults()
    min_level: Literal[4] = 4
    max_level: Literal[4] = 4
    anchor: Anchors = Field(default_factory=Anchors)
    rpn_head: RpnHead = Field(default_factory=RpnHead)
    roi_aligner: RoiAligner = Field(default_factory=RoiAligner)
    roi_head: RoiHead = options.defaults()
    losses: networks.TwoStageLosses = options.defaults()
    parser: Parser = options.defaults()


specs.register_detector(
    specs.DetectorSpec(
        name='faster_rcnn_single_scale',
        options=FasterRcnnSingleScale,
        modules=('backbone', 'rpn_head', 'roi_head', 'detection_head'),
        loss_modules={'rpn_score': _RPN, 'rpn_box': _RPN, 'frcnn_class': _HEAD, 'frcnn_box': _HEAD},
        implementation=CodePlace('stagetrain.detectors.faster_rcnn_single_scale:FasterRcnnSingleScale'),
        detection_modules=_HEAD,
        proposal_modules=_RPN,
        proposal_losses=('frcnn_class', 'frcnn_box'),
        max_detections_option=('detection_generator', 'max_num_detections'),
        class_modules=('detection_head',),
        class_layers={r'detection_head/cls_score/(kernel|bias)': 1, r'detection_head/bbox_pred/(kernel|bias)': 4},
        fixed_options=(*FIXED_IN_PARSERS, *two_stage.FIXED_OPTIONS, two_stage.CASCADE_OPTIONS[0]),
    )
)
