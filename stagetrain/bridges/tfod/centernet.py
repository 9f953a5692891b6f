"""CenterNet of the Object Detection API, as `centernet`: boxes only."""

from __future__ import annotations

from stagetrain.bridges.tfod import extractors, parts
from stagetrain.bridges.tfod.account import Block
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.bridges.tfod.extractors import Extractor
from stagetrain.errors import ConfigError

C5_LEVEL = 5
REFUSED = {
    'keypoint_estimation_task': 'keypoints are',
    'keypoint_label_map_path': 'keypoints are',
    'mask_estimation_task': "CenterNet's masks are",
    'densepose_estimation_task': 'DensePose is',
    'track_estimation_task': 'tracking is',
    'temporal_offset_task': 'tracking is',
    'deepmac_mask_estimation': 'DeepMAC is',
}
"""Field of a task -> what nobody has here."""


def translate(draft: Draft, block: Block, wanted: str | None) -> Extractor:
    """Sets `model`, the loss weights and what starts from a checkpoint; see `faster_rcnn.translate`, of `model.center_net`."""
    given = {field.name for field, _ in block.message.ListFields()}
    for name, what in REFUSED.items():
        if name in given:
            place = draft.account.parsed.place(
                block.at(name) if block.account.parsed.lines.get(block.at(name)) else f'{block.at(name)}[0]'
            )
            raise ConfigError(f'{place}: {what} not here; remove the block to import the boxes')
    extractor = extractors.choose(block.block('feature_extractor'), wanted)
    draft.put('model.type', 'centernet')
    parts.backbone(draft, extractor)
    parts.resizer(draft, block.block('image_resizer'), C5_LEVEL)
    draft.put('model.max_level', C5_LEVEL)
    draft.put('model.decoder', {'num_filters': [256, 128, 64], 'dropout_rate': 0.0})
    if extractor.has_pyramid:
        block.block('feature_extractor').remark('type', 'its pyramid is replaced by three up-convolutions on C5')
    _centres(draft, block.block('object_center_params'))
    _boxes(draft, block.block('object_detection_task'))
    draft.init = ['backbone']
    return extractor


def _centres(draft: Draft, block: Block) -> None:
    draft.weigh(block, 'object_center_loss_weight', 'heatmap')
    draft.copy(block, 'heatmap_bias_init', 'model.head.heatmap_bias')
    draft.copy(block, 'min_box_overlap_iou', 'model.losses.gaussian_iou')
    draft.copy(block, 'max_box_predictions', 'model.detection_generator.max_detections')
    draft.copy(block, 'peak_max_pool_kernel_size', 'model.detection_generator.peak_extract_kernel_size')
    loss = block.block('classification_loss')
    if loss.choice() not in ('', 'penalty_reduced_logistic_focal_loss'):
        loss.remark(loss.choice(), 'heat maps have the penalty-reduced focal loss here')
        return
    focal = loss.block('penalty_reduced_logistic_focal_loss')
    for name, value in (('alpha', 2.0), ('beta', 4.0)):
        if focal.has(name) and focal.take(name) != value:
            focal.remark(name, f'is {value:g} here')


def _boxes(draft: Draft, block: Block) -> None:
    task = block.take('task_loss_weight', 'loss_weights.size', 'loss_weights.offset')
    why = 'task_loss_weight' if task != 1 else ''
    draft.weigh(block, 'scale_loss_weight', 'size', task, why)
    draft.weigh(block, 'offset_loss_weight', 'offset', task, why)
    loss = block.block('localization_loss')
    if loss.choice() not in ('', 'l1_localization_loss'):
        loss.remark(loss.choice(), 'sizes and offsets have L1 here')
