"""`model: {type: retinanet}`: the Model Garden's `RetinaNet`, less what a stage or the data decides."""

from __future__ import annotations

from typing import Any, Literal

import pydantic

from stagetrain.config import options, specs
from stagetrain.config.augmentation import FIXED_IN_PARSERS
from stagetrain.config.one_stage import one_stage_parser

MODULES = ('backbone', 'decoder', 'head')


def retinanet_options() -> type[pydantic.BaseModel]:
    """Returns the type of `model`."""
    losses = options.options_model('retinanet_losses', ('loss_weight', 'box_loss_weight'))
    parser = one_stage_parser()
    fields: dict[str, Any] = {
        'type': (Literal['retinanet'], ...),
        'losses': (losses, pydantic.Field(default_factory=losses)),
        'parser': (parser, pydantic.Field(default_factory=parser)),
    }
    base = options.options_model('retinanet', ('num_classes',))
    return pydantic.create_model('RetinaNet', __base__=base, __doc__="The Model Garden's RetinaNet.", **fields)


specs.register_detector(
    specs.DetectorSpec(
        name='retinanet',
        options=retinanet_options,
        modules=MODULES,
        loss_modules=dict.fromkeys(('class', 'box'), MODULES),
        implementation='stagetrain.detectors.retinanet:RetinaNet',
        loss_weights={'box': 50.0},  # The Model Garden's `box_loss_weight`.
        detection_modules=MODULES,
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
