"""`model: {type: mask_rcnn}`: the Model Garden's, which is Faster R-CNN with masks."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any, Literal

import pydantic

from stagetrain.config import options, specs, two_stage
from stagetrain.config.builtin import faster_rcnn


def mask_rcnn_options() -> type[pydantic.BaseModel]:
    """Returns the type of `model`: the Model Garden's `MaskRCNN` with its `Losses` and `Parser`."""
    fields: dict[str, Any] = {'type': (Literal['mask_rcnn'], ...), **two_stage.losses_and_parser(with_masks=True)}
    base = options.options_model('faster_rcnn', two_stage.DECIDED_ELSEWHERE)
    for name in two_stage.MASKS:  # The Model Garden's may be null, for its Faster R-CNN.
        part = next(kind for kind in typing.get_args(base.model_fields[name].annotation) if kind is not type(None))
        fields[name] = (part, pydantic.Field(default_factory=part))
    return pydantic.create_model('MaskRcnn', __base__=base, __doc__="The Model Garden's Mask R-CNN.", **fields)


specs.register_detector(
    dataclasses.replace(
        faster_rcnn.SPEC,
        name='mask_rcnn',
        options=mask_rcnn_options,
        modules=(*faster_rcnn.SPEC.modules, 'mask_head'),
        loss_modules={**faster_rcnn.SPEC.loss_modules, 'mask': ('backbone', 'decoder', 'mask_head')},
        proposal_losses=(*faster_rcnn.SPEC.proposal_losses, 'mask'),
        mask_losses=('mask',),
        fixed_options=(*faster_rcnn.SPEC.fixed_options, *two_stage.CASCADE_OPTIONS),
    )
)
