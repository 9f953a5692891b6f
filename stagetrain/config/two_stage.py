"""The options of `model: {type: faster_rcnn}` and `mask_rcnn`: the Model Garden's, less what a stage or the data decides."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any, Literal

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


def faster_rcnn_options() -> type[pydantic.BaseModel]:
    """Returns the type of `model`: the Model Garden's `MaskRCNN` without masks, with its `Losses` and `Parser`."""
    fields: dict[str, Any] = {'type': (Literal['faster_rcnn'], ...), **_losses_and_parser(with_masks=False)}
    base = options.options_model('faster_rcnn', (*DECIDED_ELSEWHERE, *MASKS))
    return pydantic.create_model('FasterRcnn', __base__=base, __doc__="The Model Garden's Faster R-CNN.", **fields)


def mask_rcnn_options() -> type[pydantic.BaseModel]:
    """Returns the type of `model`: the Model Garden's `MaskRCNN` with its `Losses` and `Parser`."""
    fields: dict[str, Any] = {'type': (Literal['mask_rcnn'], ...), **_losses_and_parser(with_masks=True)}
    base = options.options_model('faster_rcnn', DECIDED_ELSEWHERE)
    for name in MASKS:  # The Model Garden's may be null, for its Faster R-CNN.
        part = next(kind for kind in typing.get_args(base.model_fields[name].annotation) if kind is not type(None))
        fields[name] = (part, pydantic.Field(default_factory=part))
    return pydantic.create_model('MaskRcnn', __base__=base, __doc__="The Model Garden's Mask R-CNN.", **fields)


def rules(model: Any, num_classes: int) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields what is wrong with a cascade, for whose heads the Model Garden has three sets of weights, as (path, text).

    Args:
      model: the options.
      num_classes: classes without background.
    """
    thresholds = model.roi_sampler.cascade_iou_thresholds
    if not thresholds:
        return
    if len(thresholds) > MAX_CASCADE_THRESHOLDS or any(not 0 < threshold < 1 for threshold in thresholds):
        expected = f'at most {MAX_CASCADE_THRESHOLDS} numbers between 0 and 1, one for each head behind the first'
        yield ('roi_sampler', 'cascade_iou_thresholds'), f'found {thresholds}; expected {expected}'
    if not model.detection_head.class_agnostic_bbox_pred:
        text = 'must be true with roi_sampler.cascade_iou_thresholds: each head refines the boxes of the one before it'
        yield ('detection_head', 'class_agnostic_bbox_pred'), text


def _losses_and_parser(with_masks: bool) -> dict[str, Any]:
    losses, parser = losses_type(), parser_type(with_masks)
    return {
        'losses': (losses, pydantic.Field(default_factory=losses)),
        'parser': (parser, pydantic.Field(default_factory=parser)),
    }
