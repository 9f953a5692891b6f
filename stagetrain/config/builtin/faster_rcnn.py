"""`model: {type: faster_rcnn}`: the Model Garden's, with cascades."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from stagetrain.config import specs, two_stage
from stagetrain.config.augmentation import FIXED_IN_PARSERS
from stagetrain.config.builtin.keras_backbones import Backbone
from stagetrain.config.contracts import CodePlace
from stagetrain.config.detector_options import DetectorOptions
from stagetrain.config.model_garden import networks
from stagetrain.config.options import defaults

MAX_CASCADE_THRESHOLDS = 2
_RPN = ('backbone', 'decoder', 'rpn_head')
_HEAD = ('backbone', 'decoder', 'detection_head')


class FasterRcnn(networks.FasterRcnn, DetectorOptions):
    """The Model Garden's Faster R-CNN."""

    type: Literal['faster_rcnn']
    backbone: Backbone = defaults()
    losses: networks.TwoStageLosses = defaults()
    parser: two_stage.Parser = defaults()


def rules(model: FasterRcnn, num_classes: int) -> Iterator[tuple[tuple[str, ...], str]]:
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


SPEC = specs.DetectorSpec(
    name='faster_rcnn',
    options=FasterRcnn,
    modules=('backbone', 'decoder', 'rpn_head', 'detection_head'),
    loss_modules={'rpn_score': _RPN, 'rpn_box': _RPN, 'frcnn_class': _HEAD, 'frcnn_box': _HEAD},
    implementation=CodePlace('stagetrain.detectors.faster_rcnn:FasterRcnn'),
    detection_modules=_HEAD,
    proposal_modules=_RPN,
    proposal_losses=('frcnn_class', 'frcnn_box'),
    fixed_options=(*FIXED_IN_PARSERS, *two_stage.FIXED_OPTIONS),
    max_detections_option=('detection_generator', 'max_num_detections'),
    class_modules=('detection_head',),
    class_layers={
        r'detection_head/(\d+/)?classifier/(kernel|bias)': 1,
        r'detection_head/(\d+/)?box_regressor/(kernel|bias)': 4,
    },
    rules=rules,
)
specs.register_detector(SPEC)
