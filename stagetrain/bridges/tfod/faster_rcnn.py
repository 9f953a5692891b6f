"""Faster R-CNN and Mask R-CNN of the Object Detection API.

A ResNet without a pyramid becomes `faster_rcnn_single_scale`: C4 as features, C5 as head. With a pyramid it becomes
`faster_rcnn`. Masks are predicted on a pyramid here, so a file with masks becomes `mask_rcnn` in either case.
"""

from __future__ import annotations

import math

from stagetrain.bridges.tfod import anchors, extractors, parts
from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft, rounded
from stagetrain.bridges.tfod.extractors import Extractor
from stagetrain.errors import ConfigError

C4_LEVEL = 4
BOX_FACTOR = math.sqrt(10.0 * 5.0)
"""The API multiplies box codes by (10, 10, 5, 5) in both stages, the RPN here by nothing. With smooth L1 this is a loss weight
and a delta; one number stands for both, their geometric mean."""
HEAD_SIZE = 1024
_RPN_SCALES = "the API's box codes have factors 10, 10, 5, 5, those of the RPN here have none"
_POSITIVES = 'means over the positive anchors and RoIs; the API divides by all that were sampled'


def translate(draft: Draft, block: Block, wanted: str | None) -> Extractor:
    """Sets `model`, the loss weights and what starts from a checkpoint.

    Args:
      draft: what is set.
      block: `model.faster_rcnn`.
      wanted: the value of `--backbone`, or None.

    Raises:
      ConfigError: The file needs what is not here.
    """
    predictor = _predictor(draft, block)
    extractor = extractors.choose(block.block('feature_extractor'), wanted, _lacking(draft, block))
    stages = block.take('number_of_stages', 'loss_weights')
    has_masks = stages == 3 and predictor.take('predict_instance_masks', 'model.type', 'loss_weights.mask')
    if has_masks or extractor.has_pyramid:
        _pyramid(draft, block, extractor, predictor, has_masks)
    else:
        _single_scale(draft, block, extractor, predictor)
    _first_stage(draft, block)
    if stages >= 2:
        _second_stage(draft, block, is_single_scale=not (has_masks or extractor.has_pyramid))
    if stages > 3 or (stages == 3 and not has_masks):
        block.remark('number_of_stages', f'{stages}: predict_instance_masks is not set, so no mask is trained')
    _weights(draft, block, stages, has_masks, is_single_scale=draft.document['model']['type'] == 'faster_rcnn_single_scale')
    _batch_norm(draft, block.block('feature_extractor'))
    return extractor


def _lacking(draft: Draft, block: Block) -> str:
    """Returns what of a file only a substitute brings in, in words."""
    if block.block('second_stage_box_predictor').choice() == 'rfcn_box_predictor':
        return 'with the position-sensitive head of R-FCN, which is not here,'
    return 'with context features (context_config), which are not here,' if block.has('context_config') else ''


def _predictor(draft: Draft, block: Block) -> Block:
    """Returns `mask_rcnn_box_predictor`, empty where the file has another one or none."""
    outer = block.block('second_stage_box_predictor')
    predictor = outer.block('mask_rcnn_box_predictor')
    if outer.choice() == 'mask_rcnn_box_predictor' and predictor.take('predict_keypoints'):
        place = draft.account.parsed.place(predictor.at('predict_keypoints'))
        raise ConfigError(f'{place}: keypoints are not predicted here; remove it, or set it to false, to import the rest')
    return predictor


# ---- the network ------------------------------------------------------------------------------------------------------------


def _single_scale(draft: Draft, block: Block, extractor: Extractor, predictor: Block) -> None:
    draft.put('model.type', 'faster_rcnn_single_scale')
    parts.resizer(draft, block.block('image_resizer'), C4_LEVEL, has_shorter_side=True)
    parts.backbone(draft, extractor, only_c4=True)
    anchors.grid(draft, block.block('first_stage_anchor_generator'))
    draft.put('model.anchor.allowed_border', None if block.take('clip_anchors_to_image', 'model.anchor.allowed_border') else 0)
    draft.copy(block, 'first_stage_box_predictor_depth', 'model.rpn_head.num_filters')
    is_resnet = 'resnet' in extractor.backbone
    side = _roi_size(block)
    if is_resnet:
        note = f'C5 halves this to the {side}x{side} that the API has behind its maxima'
        draft.put('model.roi_aligner.crop_size', 2 * side, note)
        draft.put('model.roi_head.type', 'resnet_c5')
    else:
        draft.put('model.roi_aligner', {'crop_size': side, 'pool_size': 1})
        draft.put('model.roi_head', {'type': 'fc', 'fc': {'fc_dims': HEAD_SIZE, 'dropout': 0.0}})
        draft.notes['model.roi_head'] = f'two layers of {HEAD_SIZE}; the network of the file has a head of its own'
    draft.put('model.losses.rpn_huber_loss_delta', rounded(1 / BOX_FACTOR), f'delta 1 there; {_RPN_SCALES}')
    draft.put('model.losses.frcnn_huber_loss_delta', 1.0)
    draft.init = ['backbone', 'roi_head'] if is_resnet else ['backbone']
    if predictor.take('share_box_across_classes'):
        draft.differ(predictor, 'share_box_across_classes', 'the head of this network regresses a box for each class')
    else:
        predictor.say('share_box_across_classes', 'is false: a box for each class, as here', Kind.MEANINGLESS)
    if not predictor.take('use_dropout'):
        predictor.say('dropout_keep_probability', 'goes with use_dropout, which is false', Kind.MEANINGLESS)


def _pyramid(draft: Draft, block: Block, extractor: Extractor, predictor: Block, has_masks: bool) -> None:
    draft.put('model.type', 'mask_rcnn' if has_masks else 'faster_rcnn')
    parts.backbone(draft, extractor)
    fpn = block.block('feature_extractor').block('fpn')
    generator = block.block('first_stage_anchor_generator')
    levels = anchors.pyramid(draft, generator)
    if extractor.has_pyramid:
        levels = (fpn.take('min_level', 'model.min_level'), fpn.take('max_level', 'model.max_level'))
        if not block.block('feature_extractor').has('fpn'):
            levels = (2, 6)
        anchors.compare_levels(generator, levels)
        draft.put('model.decoder', {'type': 'fpn', 'fpn': {'num_filters': fpn.take('additional_layer_depth', _FILTERS)}})
    else:
        draft.put('model.decoder.type', 'fpn', 'masks need a pyramid here; the network of the file has one level')
    draft.put('model.min_level', levels[0])
    draft.put('model.max_level', levels[1])
    parts.resizer(draft, block.block('image_resizer'), levels[1])
    parts.normalisation(draft, block.block('feature_extractor').block('conv_hyperparams'))
    draft.put('model.rpn_head.num_convs', 1)
    draft.copy(block, 'first_stage_box_predictor_depth', 'model.rpn_head.num_filters')
    draft.put('model.detection_head', {'num_convs': 0, 'num_fcs': 2, 'fc_dims': HEAD_SIZE})
    shares = predictor.take('share_box_across_classes', 'model.detection_head.class_agnostic_bbox_pred')
    draft.put('model.detection_head.class_agnostic_bbox_pred', shares)
    draft.put('model.roi_aligner.crop_size', _roi_size(block))
    if has_masks:
        _masks(draft, block, predictor)
    draft.init = ['backbone']


_FILTERS = 'model.decoder.fpn.num_filters'


def _roi_size(block: Block) -> int:
    """Returns the points a side of a RoI behind the API's maxima; a file without any has those of Faster R-CNN, 7."""
    crop, stride = block.take('initial_crop_size'), max(block.take('maxpool_stride'), 1)
    kernel = block.take('maxpool_kernel_size')
    if not crop:
        return 7
    for name in ('initial_crop_size', 'maxpool_stride'):
        block.take(name, 'model.roi_aligner.crop_size')
    side = max(crop // stride, 1)
    if crop % stride:
        block.say('initial_crop_size', f'{crop} is no multiple of maxpool_stride, {stride}: RoIs have {side} points a side')
        block.remark('initial_crop_size', f'{crop} is no multiple of maxpool_stride, {stride}: RoIs have {side} points a side')
    if kernel != stride and block.has('maxpool_kernel_size'):
        block.remark('maxpool_kernel_size', f'{kernel}: RoIs have no maxima over {kernel}x{kernel} here')
    else:
        block.say('maxpool_kernel_size', 'equals maxpool_stride, which crop_size takes the place of', Kind.MEANINGLESS)
    return side


def _masks(draft: Draft, block: Block, predictor: Block) -> None:
    depth = predictor.take('mask_prediction_conv_depth', 'model.mask_head.num_filters')
    draft.put('model.mask_head.num_filters', depth or _mask_depth(block.take('num_classes')))
    if not depth:
        draft.notes['model.mask_head.num_filters'] = 'mask_prediction_conv_depth 0: computed of the classes, as in the API'
    draft.copy(predictor, 'mask_prediction_num_conv_layers', 'model.mask_head.num_convs')
    draft.copy(predictor, 'masks_are_class_agnostic', 'model.mask_head.class_agnostic')
    height, width = predictor.take('mask_height', 'model.mask_roi_aligner.crop_size'), predictor.take('mask_width')
    crop = max(height // 2, 1)
    draft.put('model.mask_roi_aligner.crop_size', crop, f'the mask has twice as many points, {2 * crop}; {height} in the file')
    if height != 2 * crop:
        predictor.say('mask_height', f'{height} is odd: masks have {2 * crop} points a side')
    if width == height:
        predictor.say('mask_width', 'equals mask_height: masks are squares here', Kind.MEANINGLESS)
    for part in ('train', 'validation'):
        draft.put(f'data.{part}.masks', True)


def _mask_depth(num_classes: int) -> int:
    """Returns the channels that the API takes for 0: between those of C5 and the number of classes, on a scale of logarithms."""
    return int(2 ** ((2 * math.log2(2048) + 3 * math.log2(max(num_classes, 1))) / 5))


# ---- sampling, losses, weights ----------------------------------------------------------------------------------------------


def _first_stage(draft: Draft, block: Block) -> None:
    stride = block.block('feature_extractor').take('first_stage_features_stride')
    if stride != 2**C4_LEVEL and not block.block('feature_extractor').has('fpn'):
        text = f'found {stride}, by dilated convolutions; features have stride {2**C4_LEVEL} here'
        draft.differ(block.block('feature_extractor'), 'first_stage_features_stride', text)
    for name in ('num_proposals', 'test_num_proposals'):
        draft.copy(block, 'first_stage_max_proposals', f'model.roi_generator.{name}')
    for name in ('nms_iou_threshold', 'test_nms_iou_threshold'):
        draft.copy(block, 'first_stage_nms_iou_threshold', f'model.roi_generator.{name}')
    for name in ('pre_nms_score_threshold', 'test_pre_nms_score_threshold'):
        draft.copy(block, 'first_stage_nms_score_threshold', f'model.roi_generator.{name}')
    for name in ('pre_nms_top_k', 'test_pre_nms_top_k'):
        draft.put(f'model.roi_generator.{name}', PRE_NMS)
    draft.notes['model.roi_generator.pre_nms_top_k'] = (
        'the API looks at all anchors; those after the best 6,000 hardly ever count'
    )
    draft.copy(block, 'first_stage_minibatch_size', 'model.parser.rpn_batch_size_per_im')
    draft.copy(block, 'first_stage_positive_balance_fraction', 'model.parser.rpn_fg_fraction')


PRE_NMS = 6000
"""Boxes that suppression looks at, as py-faster-rcnn's test (`RPN_PRE_NMS_TOP_N`)."""


def _second_stage(draft: Draft, block: Block, *, is_single_scale: bool) -> None:
    sampler = 'model.roi_sampler'
    draft.put(f'{sampler}.mix_gt_boxes', False, 'the API samples from proposals alone')
    draft.copy(block, 'second_stage_batch_size', f'{sampler}.num_sampled_rois')
    draft.copy(block, 'second_stage_balance_fraction', f'{sampler}.foreground_fraction')
    proposals, sampled = block.take('first_stage_max_proposals'), block.take('second_stage_batch_size')
    if sampled > proposals:
        text = f'{sampled} RoIs of {proposals} proposals: the API refuses this; {proposals} are sampled'
        draft.put(f'{sampler}.num_sampled_rois', proposals, text)
        block.remark('second_stage_batch_size', text)
        block.say('second_stage_batch_size', text)
    parts.detections(draft, block.block('second_stage_post_processing'))
    _classification(draft, block)
    if block.has('hard_example_miner'):
        block.remark('hard_example_miner', f'hard RoIs are not looked for here; {sampled} are sampled at random')


def _classification(draft: Draft, block: Block) -> None:
    loss, post = block.block('second_stage_classification_loss'), block.block('second_stage_post_processing')
    converter = post.take('score_converter', 'model.detection_generator.use_sigmoid_probability')
    kind = loss.choice()
    if kind in ('weighted_sigmoid', 'weighted_sigmoid_focal'):
        draft.account.take(loss.at(kind), 'model.losses.frcnn_class_use_binary_cross_entropy')
        draft.put('model.losses.frcnn_class_use_binary_cross_entropy', True)
    if kind not in ('', 'weighted_softmax', 'weighted_sigmoid'):
        loss.remark(kind, 'the classes of RoIs have cross-entropy here')
    draft.put('model.detection_generator.use_sigmoid_probability', converter == 'SIGMOID')
    if converter == 'IDENTITY':
        post.say('score_converter', 'scores of RoIs are a softmax here')


def _weights(draft: Draft, block: Block, stages: int, has_masks: bool, *, is_single_scale: bool) -> None:
    draft.weigh(block, 'first_stage_objectness_loss_weight', 'rpn_score')
    factor = BOX_FACTOR if is_single_scale else 1.0
    draft.weigh(block, 'first_stage_localization_loss_weight', 'rpn_box', factor, _RPN_SCALES if is_single_scale else '')
    if stages >= 2:
        draft.weigh(block, 'second_stage_classification_loss_weight', 'frcnn_class')
        draft.weigh(block, 'second_stage_localization_loss_weight', 'frcnn_box')
    if has_masks:
        draft.weigh(block, 'second_stage_mask_prediction_loss_weight', 'mask')
    if not is_single_scale:
        draft.weight_notes.append(f'rpn_box and frcnn_box are {_POSITIVES}')


def regularised(block: Block, stages: int) -> list[Block]:
    """Returns the blocks of `Hyperparams` that say how parts of the network are regularised."""
    extractor = block.block('feature_extractor')
    found = [block.block('first_stage_box_predictor_conv_hyperparams')]
    predictor = block.block('second_stage_box_predictor').block('mask_rcnn_box_predictor')
    if stages >= 2 and block.block('second_stage_box_predictor').choice() == 'mask_rcnn_box_predictor':
        found += [predictor.block(name) for name in ('fc_hyperparams', 'conv_hyperparams') if predictor.has(name)]
    if extractor.has('conv_hyperparams'):
        found.append(extractor.block('conv_hyperparams'))
    return found


def _batch_norm(draft: Draft, block: Block) -> None:
    """BatchNorm rests where the file does not have it trained; in the pyramid, which starts fresh, it trains in any case."""
    trains = block.take('batch_norm_trainable', 'stages[].freeze_variables')
    if not trains:
        draft.rests = [f'{module}/.*_bn/.*' for module in draft.init]
        draft.rests_at = block.at('batch_norm_trainable')
