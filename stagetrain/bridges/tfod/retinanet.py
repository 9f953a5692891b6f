"""SSD with a ResNet and a pyramid, which the Object Detection API's samples call RetinaNet, as `retinanet`."""

from __future__ import annotations

import math

from stagetrain.bridges.tfod import anchors, extractors, parts
from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft, rounded
from stagetrain.bridges.tfod.extractors import Extractor
from stagetrain.errors import ConfigError

_SCALES = ('y_scale', 'x_scale', 'height_scale', 'width_scale')
CODE_SIZE = 4
_FOCAL = ('model.losses.focal_loss_alpha', 'model.losses.focal_loss_gamma')


def translate(draft: Draft, block: Block, wanted: str | None) -> Extractor:
    """Sets `model`, the loss weights and what starts from a checkpoint; see `faster_rcnn.translate`, of `model.ssd`."""
    if block.has('mask_head_config'):
        place = draft.account.parsed.place(block.at('mask_head_config'))
        raise ConfigError(f'{place}: masks of SSD are not here; remove it to import the boxes')
    feature_extractor = block.block('feature_extractor')
    extractor = extractors.choose(feature_extractor, wanted)
    draft.put('model.type', 'retinanet')
    parts.backbone(draft, extractor)
    levels = anchors.pyramid(draft, block.block('anchor_generator'))
    fpn = feature_extractor.block('fpn')
    if feature_extractor.choice() != 'bifpn':
        levels = (fpn.take('min_level', 'model.min_level'), fpn.take('max_level', 'model.max_level'))
        filters = fpn.take('additional_layer_depth', 'model.decoder.fpn.num_filters')
        draft.put('model.decoder', {'type': 'fpn', 'fpn': {'num_filters': filters}})
        anchors.compare_levels(block.block('anchor_generator'), levels)
    else:
        draft.put('model.decoder.type', 'fpn')
        feature_extractor.remark('bifpn', 'the pyramid here is an FPN')
    draft.put('model.min_level', levels[0])
    draft.put('model.max_level', levels[1])
    parts.resizer(draft, block.block('image_resizer'), levels[1])
    parts.normalisation(draft, feature_extractor.block('conv_hyperparams'))
    _head(draft, block.block('box_predictor'))
    _matching(draft, block.block('matcher'))
    parts.detections(draft, block.block('post_processing'), has_class_agnostic=True)
    _losses(draft, block)
    draft.init = ['backbone']
    if block.take('freeze_batchnorm', 'stages[].freeze_variables'):
        draft.rests, draft.rests_at = ['backbone/.*_bn/.*'], block.at('freeze_batchnorm')
    return extractor


def _head(draft: Draft, block: Block) -> None:
    predictor = block.block('weight_shared_convolutional_box_predictor')
    if block.choice() not in ('', 'weight_shared_convolutional_box_predictor'):
        block.account.remark(block.path, f'{block.choice()}: heads are those of RetinaNet, which all levels share')
        return
    depth = predictor.take('depth', 'model.head.num_filters')
    draft.put('model.head.num_filters', depth or 256)
    draft.copy(predictor, 'num_layers_before_predictor', 'model.head.num_convs')
    draft.copy(predictor, 'use_depthwise', 'model.head.use_separable_conv')
    if not predictor.take('use_dropout'):
        predictor.say('dropout_keep_probability', 'goes with use_dropout, which is false', Kind.MEANINGLESS)


def _matching(draft: Draft, block: Block) -> None:
    matcher = block.block('argmax_matcher')
    if block.choice() not in ('', 'argmax_matcher'):
        block.remark(block.choice(), 'anchors are matched by the thresholds of the network')
        return
    if matcher.take('ignore_thresholds'):
        matcher.remark('ignore_thresholds', 'anchors are matched by thresholds here')
        return
    matched = draft.copy(matcher, 'matched_threshold', 'model.parser.match_threshold')
    unmatched = matcher.take('unmatched_threshold', 'model.parser.unmatched_threshold')
    draft.put('model.parser.unmatched_threshold', min(matched, unmatched))


def _losses(draft: Draft, block: Block) -> None:
    loss = block.block('loss')
    _focal(draft, loss.block('classification_loss'))
    draft.weigh(loss, 'classification_weight', 'class')
    _boxes(draft, block, loss)
    if not block.take('normalize_loss_by_num_matches'):
        draft.differ(block, 'normalize_loss_by_num_matches', 'losses are always divided by the number of positives here')


def _focal(draft: Draft, block: Block) -> None:
    kind = block.choice()
    if kind == 'weighted_sigmoid_focal':
        focal = block.chosen()
        for name, target in zip(('alpha', 'gamma'), _FOCAL, strict=True):
            value = focal.take(name, target)
            draft.put(target, value if focal.has(name) else {'alpha': 0.25, 'gamma': 2.0}[name])
    elif kind:
        block.remark(kind, 'the classes have the focal loss here, with alpha 0.25 and gamma 2')
        for target, value in zip(_FOCAL, (0.25, 2.0), strict=True):
            draft.put(target, value)


def _boxes(draft: Draft, block: Block, loss: Block) -> None:
    """The API's loss of codes with factors, smooth L1 with a delta, as one of codes without: a weight and another delta."""
    coder = block.block('box_coder').block('faster_rcnn_box_coder')
    target = 'model.losses.huber_loss_delta'
    scales = [coder.positive(name, 'loss_weights.box', target) for name in _SCALES]
    factor = math.prod(scales) ** (1 / len(scales))
    smooth = loss.block('localization_loss')
    delta = smooth.block('weighted_smooth_l1').positive('delta', target)
    if smooth.choice() not in ('', 'weighted_smooth_l1'):
        smooth.remark(smooth.choice(), 'boxes have smooth L1 here')
    by_code = block.take('normalize_loc_loss_by_codesize', 'loss_weights.box')
    # Keras's Huber loss is delta times the API's smooth L1, and the mean over the four numbers of a box.
    weight = factor**2 / delta * (1.0 if by_code else CODE_SIZE)
    shown = ', '.join(f'{scale:g}' for scale in scales)
    why = f"the API's box codes have factors {shown} and its smooth L1 has slope 1; codes have none here and the slope is delta"
    draft.weigh(loss, 'localization_weight', 'box', weight, why)
    draft.put(target, rounded(delta / factor), 'of box codes without factors')


def regularised(block: Block) -> list[Block]:
    """Returns the blocks of `Hyperparams` that say how parts of the network are regularised."""
    predictor = block.block('box_predictor').block('weight_shared_convolutional_box_predictor')
    parts_of = [block.block('feature_extractor'), predictor]
    return [part.block('conv_hyperparams') for part in parts_of if part.has('conv_hyperparams')]
