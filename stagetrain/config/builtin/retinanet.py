"""`model: {type: retinanet}`: the Model Garden's `RetinaNet`, less what a stage or the data decides."""

from __future__ import annotations

from typing import Literal

from stagetrain.config import specs
from stagetrain.config.augmentation import FIXED_IN_PARSERS
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.contracts import CodePlace
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.model_garden import networks
from stagetrain.config.one_stage import OneStageParser
from stagetrain.config.options import defaults

MODULES = ('backbone', 'decoder', 'head')


class RetinaNet(networks.RetinaNet, DetectorOptions):
    """The Model Garden's RetinaNet."""

    type: Literal['retinanet']
    backbone: Backbone = defaults()
    losses: networks.RetinaNetLosses = defaults()
    parser: OneStageParser = defaults()


specs.register_detector(
    specs.DetectorSpec(
        name='retinanet',
        options=RetinaNet,
        modules=MODULES,
        loss_modules=dict.fromkeys(('class', 'box'), MODULES),
        implementation=CodePlace('stagetrain.detectors.retinanet:RetinaNet'),
        loss_weights={'box': 50.0},  # The Model Garden's `box_loss_weight`.
        detection_modules=MODULES,
        max_detections_option=('detection_generator', 'max_num_detections'),
        class_modules=('head',),
        class_layers={r'head/classifier/(kernel|bias)': 1},
        fixed_options=(
            'detection_generator.apply_nms',
            'detection_generator.decode_boxes',
            'detection_generator.return_decoded',
            'detection_generator.tflite_post_processing',
            'head.attribute_heads',
            'head.share_classification_heads',
            *FIXED_IN_PARSERS,
        ),
    )
)
