"""The Object Detection API's names of trainable variables, and what each is here. Pure.

    variables(extractor, Shape('faster_rcnn_single_scale'))[0]
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


@dataclasses.dataclass(frozen=True)
class Shape:
    """What of a network decides which variables it has, besides its extractor."""

    network: str
    """The type of the network here."""
    batch_norm_trains: bool = False
    """Whether BatchNorm's gamma and beta are trained."""
    levels: tuple[int, int] = (3, 7)
    """The least and greatest level of its pyramid."""
    num_convs: int = 4
    """Convolutions in each tower of RetinaNet's heads."""
    num_mask_convs: int = 2
    """Convolutions of the mask head."""


def variables(extractor: Extractor, shape: Shape) -> list[Variable]:
    """Returns all trainable variables of a network of the API.

    Args:
      extractor: of the network; a substitute has the names of the ResNet that it is, or of ResNet-101.
      shape: of the network.
    """
    if shape.network == 'centernet':
        return [*_keras_resnet(extractor, True, 5), *_centernet()]
    if shape.network == 'retinanet':
        return list(_keras_ssd(extractor, shape) if extractor.is_keras else _slim_ssd(extractor, shape))
    return list(_keras_two_stage(extractor, shape) if extractor.is_keras else _slim_two_stage(extractor, shape))


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


def _slim_two_stage(extractor: Extractor, shape: Shape) -> Iterator[Variable]:
    is_single, trains = shape.network == 'faster_rcnn_single_scale', shape.batch_norm_trains
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
    if shape.network == 'mask_rcnn':
        for number in range(shape.num_mask_convs):
            yield from _both(f'SecondStageBoxPredictor/{_numbered("Conv", number)}', f'mask_head/convs/{number}')
        yield from _both(f'SecondStageBoxPredictor/{_numbered("Conv", shape.num_mask_convs)}', 'mask_head/mask_regressor')


def _numbered(name: str, number: int) -> str:
    """Returns a name as slim and Keras repeat it: `Conv`, `Conv_1`, `Conv_2`."""
    return f'{name}_{number}' if number else name


def _pyramid(shape: Shape, scope: str, ending: str, names: tuple[str, str]) -> Iterator[Variable]:
    """Yields an FPN's variables: the API counts its levels from the finest one, and blocks from 1 for C2."""
    for number, level in enumerate(range(shape.levels[0], 6), 1):
        yield from _both(f'{scope}projection_{number}', f'decoder/lateral_{level}', names)
        if level < 5:
            yield Variable(f'{scope}smoothing_{number}{ending}/{names[0]}', f'decoder/post_hoc_{level}')


_RPN_SINGLE = ('rpn_head/rpn_conv', 'rpn_head/rpn_bbox_pred', 'rpn_head/rpn_cls_score')
_RPN_PYRAMID = ('rpn_head/convs/0', 'rpn_head/box_regressor', 'rpn_head/classifier')
_HEAD_SINGLE = ('detection_head/bbox_pred', 'detection_head/cls_score')
_HEAD_PYRAMID = ('detection_head/box_regressor', 'detection_head/classifier')


_PREDICTOR = 'WeightSharedConvolutionalBoxPredictor'


def _slim_ssd(extractor: Extractor, shape: Shape) -> Iterator[Variable]:
    yield from _slim_resnet(extractor, 'FeatureExtractor', 'backbone', 1, 5, shape.batch_norm_trains)
    fpn = f'FeatureExtractor/{extractor.slim}/fpn/'
    yield from _pyramid(shape, fpn, '', ('weights', 'biases'))
    for level in range(6, shape.levels[1] + 1):
        yield Variable(f'{fpn}bottom_up_block{level - 1}/weights', f'decoder/coarser_{level}')
    yield from _towers(shape, 'weights')
    yield from _both(f'{_PREDICTOR}/BoxPredictor', 'head/box_regressor')
    yield from _both(f'{_PREDICTOR}/ClassPredictor', 'head/classifier')


def _towers(shape: Shape, kernel: str) -> Iterator[Variable]:
    for number in range(shape.num_convs):
        yield Variable(f'{_PREDICTOR}/BoxPredictionTower/conv2d_{number}/{kernel}', f'head/box_convs/{number}')
        yield Variable(f'{_PREDICTOR}/ClassPredictionTower/conv2d_{number}/{kernel}', f'head/cls_convs/{number}')


# ---- TensorFlow 2: Keras ----------------------------------------------------------------------------------------------------

_KERAS = ('kernel', 'bias')


def _keras_resnet(extractor: Extractor, trains: bool, last: int, module: str = 'backbone', first: int = 1) -> Iterator[Variable]:
    for layer in canonical_layers(extractor.depth or _DEFAULT_DEPTH, first, last):
        yield Variable(f'{layer}_conv/kernel', f'{module}/{layer}_conv')  # The API builds it without bias, as slim does.
        if trains:
            yield from _both(f'{layer}_bn', f'{module}/{layer}_bn', ('gamma', 'beta'))


def _keras_two_stage(extractor: Extractor, shape: Shape) -> Iterator[Variable]:
    is_single, trains = shape.network == 'faster_rcnn_single_scale', shape.batch_norm_trains
    yield from _keras_resnet(extractor, trains, 4 if is_single else 5)
    if is_single:
        yield from _keras_resnet(extractor, trains, 5, 'roi_head', 5)
    elif extractor.has_pyramid:
        yield from _pyramid(shape, 'FeatureMaps/top_down/', '_conv', _KERAS)
        for level in range(6, shape.levels[1] + 1):
            yield Variable(f'bottom_up_block{level - 1}_conv/kernel', f'decoder/coarser_{level}')
    rpn = _RPN_SINGLE if is_single else _RPN_PYRAMID
    yield from _both('RPNConv', rpn[0], _KERAS)
    yield from _both('FirstStageBoxPredictor/ConvolutionalBoxHead_0/BoxEncodingPredictor', rpn[1], _KERAS)
    yield from _both('FirstStageBoxPredictor/ConvolutionalClassHead_0/ClassPredictor', rpn[2], _KERAS)
    head = _HEAD_SINGLE if is_single else _HEAD_PYRAMID
    yield from _both('SecondStageBoxPredictor/BoxEncodingPredictor_dense', head[0], _KERAS)
    yield from _both('SecondStageBoxPredictor/ClassPredictor_dense', head[1], _KERAS)
    if shape.network == 'mask_rcnn':
        for number in range(shape.num_mask_convs):
            yield from _both(f'SecondStageBoxPredictor/MaskPredictor_conv2d_{number}', f'mask_head/convs/{number}', _KERAS)
        yield from _both('SecondStageBoxPredictor/MaskPredictor_last_conv2d', 'mask_head/mask_regressor', _KERAS)


def _keras_ssd(extractor: Extractor, shape: Shape) -> Iterator[Variable]:
    yield from _keras_resnet(extractor, shape.batch_norm_trains, 5)
    scope = f'ResNet{extractor.depth or _DEFAULT_DEPTH}V1_FPN'
    yield from _pyramid(shape, f'{scope}/FeatureMaps/top_down/', '_conv', _KERAS)
    for level in range(6, shape.levels[1] + 1):
        yield Variable(f'{scope}/bottom_up_block{level - 1}_conv/kernel', f'decoder/coarser_{level}')
    yield from _towers(shape, 'kernel')
    yield from _both(f'{_PREDICTOR}/WeightSharedConvolutionalBoxHead/BoxPredictor', 'head/box_regressor', _KERAS)
    yield from _both(f'{_PREDICTOR}/WeightSharedConvolutionalClassHead/ClassPredictor', 'head/classifier', _KERAS)


def _centernet() -> Iterator[Variable]:
    for number, suffix in enumerate(('', '_1', '_2'), 1):
        yield Variable(f'conv2d_transpose{suffix}/kernel', f'decoder/up_{number}')
    for scope, head in (('center_0', 'ct_heatmaps2'), ('box_scale_0', 'ct_size2'), ('box_offset_0', 'ct_offset2')):
        yield from _both(f'{scope}/conv2d', f'head/{head}/conv1', _KERAS)
        yield from _both(f'{scope}/conv2d_1', f'head/{head}/conv2', _KERAS)
