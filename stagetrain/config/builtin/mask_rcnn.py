"""`model: {type: mask_rcnn}`: the Model Garden's, which is Faster R-CNN with masks."""

from __future__ import annotations

import dataclasses
from typing import Literal

from stagetrain.config import specs, two_stage
from stagetrain.config.augmentation import AugmentedParser
from stagetrain.config.builtin import faster_rcnn
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.model_garden import maskrcnn, networks
from stagetrain.config.options import defaults


class Parser(AugmentedParser, networks.MaskRcnnParser):
    """How images and targets are prepared."""

    aug_type: None = None
    """None: masks do not follow the operations that move an image."""


class MaskRcnn(networks.MaskRcnn, DetectorOptions):
    """The Model Garden's Mask R-CNN."""

    type: Literal['mask_rcnn']
    backbone: Backbone = defaults()
    # The Model Garden's may be null, for its Faster R-CNN.
    mask_head: maskrcnn.MaskHead = defaults()
    mask_roi_aligner: maskrcnn.MaskROIAligner = defaults()
    mask_sampler: maskrcnn.MaskSampler = defaults()
    losses: networks.TwoStageLosses = defaults()
    parser: Parser = defaults()


specs.register_detector(
    dataclasses.replace(
        faster_rcnn.SPEC,
        name='mask_rcnn',
        options=MaskRcnn,
        modules=(*faster_rcnn.SPEC.modules, 'mask_head'),
        class_modules=(*faster_rcnn.SPEC.class_modules, 'mask_head'),
        class_layers={**faster_rcnn.SPEC.class_layers, r'mask_head/mask_regressor/(kernel|bias)': 1},
        loss_modules={**faster_rcnn.SPEC.loss_modules, 'mask': ('backbone', 'decoder', 'mask_head')},
        proposal_losses=(*faster_rcnn.SPEC.proposal_losses, 'mask'),
        mask_losses=('mask',),
        fixed_options=(*faster_rcnn.SPEC.fixed_options, *two_stage.CASCADE_OPTIONS),
    )
)
