"""The options of CenterNet, with the Model Garden's names where it has the option too (`official.projects.centernet`)."""

from __future__ import annotations

from typing import Annotated, Literal

import pydantic

from stagetrain.config import options, specs
from stagetrain.config.augmentation import FIXED_IN_PARSERS
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.contracts import CodePlace
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.model_garden.common import NormActivation
from stagetrain.config.one_stage import OneStageParser

MODULES = ('backbone', 'decoder', 'head')
Positive = Annotated[int, pydantic.Field(gt=0)]


class UpConvolutions(options.Strict):
    """What leads from the backbone's last level to the heat maps' stride."""

    num_filters: Annotated[list[Positive], pydantic.Field(min_length=1)] = pydantic.Field(default_factory=lambda: [256, 128, 64])
    """Channels of each up-convolution (4x4, stride 2); the last one's are those of the heads' 3x3 convolutions too."""
    dropout_rate: Annotated[float, pydantic.Field(ge=0, lt=1)] = 0.5
    """Share of the backbone's last features that is dropped in training; none while the up-convolutions are frozen."""


class CenterNetHead(options.Strict):
    """The heads: heat map, size, offset."""

    heatmap_bias: float = -2.19
    """Initial bias of the heat maps: a centre is found with probability 0.1 anywhere (Zhou et al. 2019, section 6)."""


class CenterNetDetectionGenerator(options.Strict):
    """How peaks become boxes."""

    max_detections: Positive = 100
    """Peaks kept for each image."""
    peak_error: Annotated[float, pydantic.Field(gt=0)] = 1e-6
    """A place whose value is within this of the greatest around it is a peak."""
    peak_extract_kernel_size: Positive = 3
    """Side of what counts as around, in places of the heat map."""


class CenterNetLosses(options.Strict):
    """What decides targets and regularisation; weights of the terms stand in the stages."""

    gaussian_iou: Annotated[float, pydantic.Field(gt=0, lt=1)] = 0.7
    """A box moved by the radius of the Gaussian still has this IoU with the true one."""
    l2_weight_decay: Annotated[float, pydantic.Field(ge=0)] = 0.0
    """As in the Model Garden's other detectors, on backbone and up-convolutions."""


class CenterNet(DetectorOptions):
    """CenterNet (Zhou et al. 2019) as keras-CenterNet builds it: one level of a backbone, up-convolutions, three heads."""

    type: Literal['centernet']
    input_size: list[int] = pydantic.Field(default_factory=list)
    """Height, width and 3."""
    max_level: Annotated[int, pydantic.Field(ge=1, le=7)] = 5
    """The level of the backbone that is read: 5 is C5, of stride 32."""
    decoder: UpConvolutions = pydantic.Field(default_factory=UpConvolutions)
    head: CenterNetHead = pydantic.Field(default_factory=CenterNetHead)
    detection_generator: CenterNetDetectionGenerator = pydantic.Field(default_factory=CenterNetDetectionGenerator)
    losses: CenterNetLosses = pydantic.Field(default_factory=CenterNetLosses)
    backbone: Backbone = options.defaults()
    norm_activation: NormActivation = options.defaults()
    parser: OneStageParser = options.defaults()

    @property
    def min_level(self) -> int:
        """The heat maps' level: each up-convolution halves the stride."""
        return self.max_level - len(self.decoder.num_filters)

    @pydantic.model_validator(mode='after')
    def _no_more_steps_up_than_down(self) -> CenterNet:
        if self.min_level < 0:
            found = len(self.decoder.num_filters)
            raise ValueError(f'decoder.num_filters: found {found} up-convolutions; expected at most max_level, {self.max_level}')
        return self


specs.register_detector(
    specs.DetectorSpec(
        name='centernet',
        options=CenterNet,
        modules=MODULES,
        loss_modules=dict.fromkeys(('heatmap', 'size', 'offset'), MODULES),
        implementation=CodePlace('stagetrain.detectors.centernet:CenterNet'),
        detection_modules=MODULES,
        max_detections_option=('detection_generator', 'max_detections'),
        class_modules=('head',),
        class_layers={r'head/ct_heatmaps\d*/conv2/(kernel|bias)': 1},
        has_background=False,
        loss_weights={'size': 0.1},  # Zhou et al. 2019, section 4.
        fixed_options=FIXED_IN_PARSERS,
    )
)
