"""What networks of the Object Detection API have in common: resizers, regularisers, activations, post-processing."""

from __future__ import annotations

from collections.abc import Sequence

from stagetrain.bridges.tfod.account import Block, Kind
from stagetrain.bridges.tfod.draft import Draft
from stagetrain.bridges.tfod.extractors import C4_END, Extractor
from stagetrain.errors import ConfigError

L2 = 'model.losses.l2_weight_decay'
ACTIVATIONS = {'NONE': 'linear', 'RELU': 'relu', 'RELU_6': 'relu6', 'SWISH': 'swish'}
SIZE = 'model.input_size'
MAX_LEVEL = 12
"""The coarsest level that a pipeline file may name."""
MAX_CLASSES = 100_000
USUAL_SIZE = 640
"""The side of inputs where a file has no size."""


def backbone(draft: Draft, extractor: Extractor, *, only_c4: bool = False) -> None:
    """Sets `model.backbone`; with `only_c4` a ResNet ends at C4."""
    draft.put('model.backbone.type', extractor.backbone)
    if only_c4 and extractor.depth:
        draft.put(f'model.backbone.{extractor.backbone}.endpoints', {'4': C4_END[extractor.depth]})


def resizer(draft: Draft, block: Block, max_level: int, *, has_shorter_side: bool = False) -> None:
    """Sets `model.input_size`, and `model.parser.shorter_side` where the network has it.

    Args:
      draft: what is set.
      block: `image_resizer`.
      max_level: sides are multiples of 2 to the power of this.
      has_shorter_side: whether the network's parser has the option.
    """
    # A level beyond all networks is refused when the pipeline file is checked.
    kind, multiple = block.choice(), 2 ** min(max(max_level, 0), MAX_LEVEL)
    if not kind or kind in ('identity_resizer', 'pad_to_multiple_resizer'):
        draft.put(SIZE, [_multiple(USUAL_SIZE, multiple)] * 2 + [3], 'the file has no size')
        block.account.remark(block.at(kind) if kind else block.path, f'{SIZE}: the file has no size; {USUAL_SIZE} is taken')
        return
    chosen = block.chosen()
    if kind == 'fixed_shape_resizer':
        draft.put(
            SIZE, _size(chosen, ('height', 'width'), multiple), 'images keep their aspect ratio inside; the API stretches them'
        )
    elif kind == 'conditional_shape_resizer':
        draft.put(SIZE, _size(chosen, ('size_threshold', 'size_threshold'), multiple))
    else:
        _keep_aspect_ratio(draft, chosen, multiple, has_shorter_side)


def _keep_aspect_ratio(draft: Draft, block: Block, multiple: int, has_shorter_side: bool) -> None:
    targets = (SIZE, 'model.parser.shorter_side') if has_shorter_side else (SIZE,)
    shorter, longer = block.take('min_dimension', *targets), block.take('max_dimension', SIZE)
    if shorter >= longer:
        if shorter > longer:
            block.say('min_dimension', 'is greater than max_dimension, which images are scaled to')
        draft.put(SIZE, _size(block, ('max_dimension', 'max_dimension'), multiple))
    elif has_shorter_side:
        draft.put('model.parser.shorter_side', shorter)
        draft.put(SIZE, _size(block, ('max_dimension', 'max_dimension'), multiple), 'room for the longer side in both directions')
    else:
        text = f'images fit into height {shorter} and width {longer} here: upright ones become smaller than in the API'
        block.remark('min_dimension', text)
        draft.put(SIZE, _size(block, ('min_dimension', 'max_dimension'), multiple), text)


def _size(block: Block, names: tuple[str, str], multiple: int) -> list[int]:
    """Returns height, width and 3: the nearest multiples of the fields' values; says where they differ."""
    sides = [block.take(name, SIZE) for name in names]
    rounded = [_multiple(side, multiple) for side in sides]
    for name, side, near in zip(names, sides, rounded, strict=True):
        if side != near:
            block.say(name, f'{SIZE} has {near} in its place: sides are multiples of {multiple} here')
    if rounded != sides:
        text = f'{SIZE}: {rounded} in place of {sides}: sides are multiples of {multiple} here'
        block.account.remark(block.path, text)
    return [*rounded, 3]


def _multiple(side: int, multiple: int) -> int:
    return max(multiple, (side + multiple // 2) // multiple * multiple)


def regularisation(draft: Draft, parts: Sequence[Block], is_added: bool) -> None:
    """Sets the one `l2_weight_decay` of the network: the greatest of its parts.

    Args:
      draft: what is set.
      parts: blocks of `Hyperparams`.
      is_added: `train_config.add_regularization_loss`.
    """
    found = []
    for part in parts:
        block = part.block('regularizer')
        if block.choice() == 'l2_regularizer':
            inner = block.block('l2_regularizer')
            found.append((inner.take('weight'), inner))
        else:
            found.append((0.0, part))
    greatest = max((weight for weight, _ in found), default=0.0)
    draft.put(L2, greatest if is_added else 0.0)
    for weight, block in found:
        if weight == greatest:
            if 'weight' in block.message.DESCRIPTOR.fields_by_name:
                block.account.take(block.at('weight'), L2)
                block.account.take(block.path, L2)
        elif 'weight' in block.message.DESCRIPTOR.fields_by_name:
            text = f'{L2} is one for the network, and {greatest:g} of another part is taken'
            block.account.say(block.at('weight'), Kind.REPORTED, text)
            block.account.say(block.path, Kind.REPORTED, text)
    if len({weight for weight, _ in found}) > 1:
        shown = ', '.join(f'{weight:g}' for weight, _ in found)
        draft.notes[L2] = f'the file has {shown} in its parts; one decay counts for the whole network here'


def normalisation(draft: Draft, hyperparams: Block) -> None:
    """Sets `model.norm_activation` of what is built on the backbone."""
    if hyperparams.has('activation'):
        value = hyperparams.take('activation', 'model.norm_activation.activation')
        draft.put('model.norm_activation.activation', ACTIVATIONS[value])
    kind = hyperparams.choice()
    if kind in ('batch_norm', 'sync_batch_norm'):
        norm = hyperparams.block(kind)
        draft.account.take(norm.path, 'model.norm_activation')
        draft.copy(norm, 'decay', 'model.norm_activation.norm_momentum')
        draft.copy(norm, 'epsilon', 'model.norm_activation.norm_epsilon')


def detections(draft: Draft, block: Block, *, has_class_agnostic: bool = False) -> None:
    """Sets `model.detection_generator` from `post_processing`."""
    generator = 'model.detection_generator'
    nms = block.block('batch_non_max_suppression')
    draft.copy(nms, 'score_threshold', f'{generator}.pre_nms_score_threshold', change=lambda value: min(max(value, 0.0), 1.0))
    draft.copy(nms, 'iou_threshold', f'{generator}.nms_iou_threshold')
    draft.copy(nms, 'max_total_detections', f'{generator}.max_num_detections', change=lambda value: max(value, 1))
    if nms.take('soft_nms_sigma') > 0 and not nms.take('use_hard_nms'):
        draft.copy(nms, 'soft_nms_sigma', f'{generator}.soft_nms_sigma')
    else:
        nms.say('soft_nms_sigma', 'is 0, or use_hard_nms is set: boxes are suppressed greedily, as here', Kind.MEANINGLESS)
    if has_class_agnostic and nms.take('use_class_agnostic_nms'):
        draft.copy(nms, 'use_class_agnostic_nms', f'{generator}.use_class_agnostic_nms')
    elif nms.take('use_class_agnostic_nms'):
        draft.differ(nms, 'use_class_agnostic_nms', 'boxes of two classes do not suppress each other here')
    else:
        nms.say('use_class_agnostic_nms', 'is false: boxes of two classes do not suppress each other, as here', Kind.MEANINGLESS)
    per_class, total = nms.take('max_detections_per_class'), nms.take('max_total_detections')
    if per_class < total:
        draft.differ(nms, 'max_detections_per_class', f'there is no limit for each class here; max_num_detections is {total}')
    else:
        nms.say('max_detections_per_class', f'limits nothing: max_total_detections is {total}', Kind.MEANINGLESS)


def num_classes(block: Block) -> int:
    """Returns `num_classes` of a network.

    Raises:
      ConfigError: The file has none.
    """
    value = block.take('num_classes', 'data.classes')
    if not 0 < value <= MAX_CLASSES:
        text = f'found {value}' if block.has('num_classes') else 'missing'
        expected = f'expected the number of classes, {MAX_CLASSES:,} at most'
        raise ConfigError(f'{block.account.parsed.place(block.at("num_classes"))}: {text}; {expected}')
    return int(value)
