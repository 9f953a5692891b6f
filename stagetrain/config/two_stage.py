"""What the options of two-stage detectors have in common: the Model Garden's, less what a stage or the data decides."""

from __future__ import annotations

from typing import Any

import pydantic

from stagetrain.config import augmentation, options

DECIDED_ELSEWHERE = ('num_classes', 'include_mask', 'outer_boxes_scale')
MASKS = ('mask_head', 'mask_sampler', 'mask_roi_aligner')
FIXED_OPTIONS = ('roi_generator.use_batched_nms',)
"""Options that are not read."""
CASCADE_OPTIONS = ('roi_sampler.cascade_iou_thresholds', 'detection_head.cascade_class_ensemble')
MAX_CASCADE_THRESHOLDS = 2
_LOSS_WEIGHTS = ('rpn_score_weight', 'rpn_box_weight', 'frcnn_class_weight', 'frcnn_box_weight', 'mask_weight', 'loss_weight')


def losses_type() -> type[options.Strict]:
    """Returns the type of `losses`: the Model Garden's, less the weights, which a stage has."""
    return options.options_model('faster_rcnn_losses', _LOSS_WEIGHTS)


def parser_type(with_masks: bool, **more: Any) -> type[pydantic.BaseModel]:
    """Returns the type of `parser`: the Model Garden's, as far as it is read, and what else is done to training images.

    Masks do not follow the operations of `aug_type` that move an image, so that a detector with masks has none.
    """
    unread = ('aug_type', 'match_threshold', 'unmatched_threshold', *(() if with_masks else ('mask_crop_size',)))
    fields = {**augmentation.parser_fields(), **({'aug_type': (None, None)} if with_masks else {}), **more}
    return pydantic.create_model('Parser', __base__=options.options_model('faster_rcnn_parser', unread), **fields)


def losses_and_parser(with_masks: bool) -> dict[str, Any]:
    """Returns the fields `losses` and `parser` of the options."""
    losses, parser = losses_type(), parser_type(with_masks)
    return {
        'losses': (losses, pydantic.Field(default_factory=losses)),
        'parser': (parser, pydantic.Field(default_factory=parser)),
    }
