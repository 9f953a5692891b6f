"""The Object Detection API's names of trainable variables, and what each is here. Pure.

    variables(extractor, 'faster_rcnn_single_scale', batch_norm_trains=False)[0]
    # Variable('FirstStageFeatureExtractor/resnet_v1_50/conv1/weights', 'backbone/conv1_conv')

Moving statistics are not among them: no pattern reaches them there. BatchNorm's gamma and beta are,
where the file has it trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from stagetrain.bridges.tfod.extractors import BLOCKS, Extractor

_DEFAULT_DEPTH = 101


@dataclasses.dataclass(frozen=True)
class Variable:
    """A trainable variable of the API."""

    name: str
    """Without `:0`."""
    layer: str | None
    """The canonical name of its layer here; None for what has no counterpart."""


def variables(extractor: Extractor, network: str, *, batch_norm_trains: bool, has_masks: bool = False) -> list[Variable]:
    """Returns all trainable variables of a network of the API.

    Args:
      extractor: of the network; a substitute has the names of the ResNet that it is, or of ResNet-101.
      network: the type of the network here.
      batch_norm_trains: whether BatchNorm's gamma and beta are trained.
      has_masks: whether it predicts masks.
    """
    if network == 'centernet':
        return [*_keras_resnet(extractor, True, 5), *_centernet()]
    if network == 'retinanet':
        found = _keras_ssd(extractor, batch_norm_trains) if extractor.is_keras else _slim_ssd(extractor, batch_norm_trains)
        return list(found)
    if extractor.is_keras:
        return list(_keras_two_stage(extractor, network, batch_norm_trains, has_masks))
    return list(_slim_two_stage(extractor, network, batch_norm_trains, has_masks))


def canonical_layers(depth: int, first: int, last: int) -> Iterator[str]:
    """Yields a Keras ResNet's convolutions of stages `first` to `last`, without `_conv`: `conv1`, `conv2_block1_0`, ..."""
    if first == 1:
        yield 'conv1'
    for stage in range(max(first, 2), last + 1):
        for unit in range(1, BLOCKS[depth][stage - 2] + 1):
            yield from (f'conv{stage}_block{unit}_{number}' for number in (([0] if unit == 1 else []) + [1, 2, 3]))


# ---- TensorFlow 1: slim -----------------------------------------------------------------------------------------------------


def _slim_resnet(extractor: Extractor, scope: str, module: str | None, first: int, last: int, trains: bool) -> Iterator[Variable]:
    """Yields a part of slim's ResNet; `module` None: the graph has it and nothing reads it."""
    for layer in canonical_layers(extractor.depth or _DEFAULT_DEPTH, first, last):
        stage, _, rest = layer.partition('_block')
        unit, _, number = rest.partition('_')
        place = 'conv1'
        if rest:
            inner = 'shortcut' if number == '0' else f'conv{number}'
            place = f'block{int(stage[4:]) - 1}/unit_{unit}/bottleneck_v1/{inner}'
        slim = f'resnet_v1_{extractor.depth or _DEFAULT_DEPTH}'
        yield Variable(f'{scope}/{slim}/{place}/weights', module and f'{module}/{layer}_conv')
        if trains:
            for name in ('gamma', 'beta'):
                yield Variable(f'{scope}/{slim}/{place}/BatchNorm/{name}', module and f'{module}/{layer}_bn')


def _both(scope: str, layer: str | None, names: tuple[str, str] = ('weights', 'biases')) -> Iterator[Variable]:
    yield from (Variable(f'{scope}/{name}', layer) for name in names)


def _slim_two_stage(extractor: Extractor, network: str, trains: bool, has_masks: bool) -> Iterator[Variable]:
    is_single = network == 'faster_rcnn_single_scale'
    yield from _slim_resnet(extractor, 'FirstStageFeatureExtractor', 'backbone', 1, 4, trains)
    yield from _slim_resnet(extractor, 'FirstStageFeatureExtractor', None, 5, 5, trains)
    head = 'roi_head' if is_single else 'backbone'
    yield from _slim_resnet(extractor, 'SecondStageFeatureExtractor', head, 5, 5, trains)
    rpn = _RPN_SINGLE if is_single else _RPN_PYRAMID
    yield from _both('Conv', rpn[0])
    yield from _both('FirstStageBoxPredictor/BoxEncodingPredictor', rpn[1])
    yield from _both('FirstStageBoxPredictor/ClassPredictor', rpn[2])
    head_layers = _HEAD_SINGLE if is_single else _HEAD_PYRAMID
    yield from _both('SecondStageBoxPredictor/BoxEncodingPredictor', head_layers[0])
    yield from _both('SecondStageBoxPredictor/ClassPredictor', head_layers[1])
    if has_masks:
        yield from _both('SecondStageBoxPredictor/Conv', 'mask_head/convs/0')
        yield from _both('SecondStageBoxPredictor/Conv_1', 'mask_head/mask_regressor')


_RPN_SINGLE = ('rpn_head/rpn_conv', 'rpn_head/rpn_bbox_pred', 'rpn_head/rpn_cls_score')
_RPN_PYRAMID = ('rpn_head/convs/0', 'rpn_head/box_regressor', 'rpn_head/classifier')
_HEAD_SINGLE = ('detection_head/bbox_pred', 'detection_head/cls_score')
_HEAD_PYRAMID = ('detection_head/box_regressor', 'detection_head/classifier')


def _slim_ssd(extractor: Extractor, trains: bool) -> Iterator[Variable]:
    yield from _slim_resnet(extractor, 'FeatureExtractor', 'backbone', 1, 5, trains)
    fpn = f'FeatureExtractor/{extractor.slim}/fpn'
    for number, level in ((3, 5), (2, 4), (1, 3)):
        yield from _both(f'{fpn}/projection_{number}', f'decoder/lateral_{level}')
    for number, level in ((2, 4), (1, 3)):
        yield Variable(f'{fpn}/smoothing_{number}/weights', f'decoder/post_hoc_{level}')
    for number, level in ((5, 6), (6, 7)):
        yield Variable(f'{fpn}/bottom_up_block{number}/weights', f'decoder/coarser_{level}')
    predictor = 'WeightSharedConvolutionalBoxPredictor'
    for number in range(4):
        yield Variable(f'{predictor}/BoxPredictionTower/conv2d_{number}/weights', f'head/box_convs/{number}')
        yield Variable(f'{predictor}/ClassPredictionTower/conv2d_{number}/weights', f'head/cls_convs/{number}')
    yield from _both(f'{predictor}/BoxPredictor', 'head/box_regressor')
    yield from _both(f'{predictor}/ClassPredictor', 'head/classifier')


# ---- TensorFlow 2: Keras ----------------------------------------------------------------------------------------------------

_KERAS = ('kernel', 'bias')


def _keras_resnet(extractor: Extractor, trains: bool, last: int, module: str = 'backbone', first: int = 1) -> Iterator[Variable]:
    for layer in canonical_layers(extractor.depth or _DEFAULT_DEPTH, first, last):
        yield Variable(f'{layer}_conv/kernel', f'{module}/{layer}_conv')  # The API builds it without bias, as slim does.
        if trains:
            yield from _both(f'{layer}_bn', f'{module}/{layer}_bn', ('gamma', 'beta'))


def _keras_two_stage(extractor: Extractor, network: str, trains: bool, has_masks: bool) -> Iterator[Variable]:
    is_single = network == 'faster_rcnn_single_scale'
    yield from _keras_resnet(extractor, trains, 4 if is_single else 5)
    if is_single:
        yield from _keras_resnet(extractor, trains, 5, 'roi_head', 5)
    elif extractor.has_pyramid:
        for number, level in ((4, 5), (3, 4), (2, 3), (1, 2)):
            yield from _both(f'FeatureMaps/top_down/projection_{number}', f'decoder/lateral_{level}', _KERAS)
        for number, level in ((3, 4), (2, 3), (1, 2)):
            yield Variable(f'FeatureMaps/top_down/smoothing_{number}_conv/kernel', f'decoder/post_hoc_{level}')
        yield Variable('bottom_up_block5_conv/kernel', 'decoder/coarser_6')
    rpn = _RPN_SINGLE if is_single else _RPN_PYRAMID
    yield from _both('RPNConv', rpn[0], _KERAS)
    yield from _both('FirstStageBoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor', rpn[1], _KERAS)
    yield from _both('FirstStageBoxPredictor/ConvolutionalClassHead_0/ClassPredictor', rpn[2], _KERAS)
    head = _HEAD_SINGLE if is_single else _HEAD_PYRAMID
    yield from _both('SecondStageBoxPredictor/BoxEncodingPredictor_dense', head[0], _KERAS)
    yield from _both('SecondStageBoxPredictor/ClassPredictor_dense', head[1], _KERAS)
    if has_masks:
        yield from _both('SecondStageBoxPredictor/MaskPredictor_last_conv2d', 'mask_head/mask_regressor', _KERAS)


def _keras_ssd(extractor: Extractor, trains: bool) -> Iterator[Variable]:
    yield from _keras_resnet(extractor, trains, 5)
    scope = f'ResNet{extractor.depth or _DEFAULT_DEPTH}V1_FPN'
    for number, level in ((3, 5), (2, 4), (1, 3)):
        yield from _both(f'{scope}/FeatureMaps/top_down/projection_{number}', f'decoder/lateral_{level}', _KERAS)
    for number, level in ((2, 4), (1, 3)):
        yield Variable(f'{scope}/FeatureMaps/top_down/smoothing_{number}_conv/kernel', f'decoder/post_hoc_{level}')
    for number, level in ((5, 6), (6, 7)):
        yield Variable(f'{scope}/bottom_up_block{number}_conv/kernel', f'decoder/coarser_{level}')
    predictor = 'WeightSharedConvolutionalBoxPredictor'
    for number in range(4):
        yield Variable(f'{predictor}/BoxPredictionTower/conv2d_{number}/kernel', f'head/box_convs/{number}')
        yield Variable(f'{predictor}/ClassPredictionTower/conv2d_{number}/kernel', f'head/cls_convs/{number}')
    yield from _both(f'{predictor}/WeightSharedConvolutionalBoxHead/BoxPredictor', 'head/box_regressor', _KERAS)
    yield from _both(f'{predictor}/WeightSharedConvolutionalClassHead/ClassPredictor', 'head/classifier', _KERAS)


def _centernet() -> Iterator[Variable]:
    for number, suffix in enumerate(('', '_1', '_2'), 1):
        yield Variable(f'conv2d_transpose{suffix}/kernel', f'decoder/up_{number}')
    for scope, head in (('center_0', 'ct_heatmaps2'), ('box_scale_0', 'ct_size2'), ('box_offset_0', 'ct_offset2')):
        yield from _both(f'{scope}/conv2d', f'head/{head}/conv1', _KERAS)
        yield from _both(f'{scope}/conv2d_1', f'head/{head}/conv2', _KERAS)
