"""What a pipeline file may name: detectors, backbones, data formats and kinds of weight files, told without importing TensorFlow.

A spec holds the facts that planning needs (modules, loss terms, option types) and the place of the code that does the work, as
`package.module:attribute`, imported only by the process that carries a stage out. To add one: one new file that registers a spec,
named under `plugins:` of the pipeline file when it lives outside this package.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

import pydantic

from stagetrain.config import augmentation, centernet, experiments, options, single_scale, two_stage
from stagetrain.config.surgery import Operation
from stagetrain.errors import ConfigError, known_names, suggestion

MODEL_GARDEN_PREPROCESSING = 'imagenet_mean_std'
"""How the Model Garden normalises images; also the default of registered backbones."""
_FIXED_IN_PARSERS = ('parser.keep_aspect_ratio', 'parser.num_channels', 'parser.pad', 'parser.skip_crowd_during_training')


@dataclasses.dataclass(frozen=True)
class DetectorSpec:
    """A detector: `modules` in network order, and which of them each loss term needs in its graph."""

    name: str
    options: Callable[[], type[pydantic.BaseModel]]
    """Makes the type of `model`; called when a file is read, for a plugin may have registered a backbone by then."""
    modules: tuple[str, ...]
    loss_modules: Mapping[str, tuple[str, ...]]
    implementation: str
    detection_modules: tuple[str, ...] = ()
    """The modules that give detections, besides `proposal_modules` or stored proposals; empty when it gives none."""
    proposal_modules: tuple[str, ...] = ()
    """The modules that give proposals; empty for a detector without a region proposal network."""
    proposal_losses: tuple[str, ...] = ()
    """The loss terms that can be computed on stored proposals instead of `proposal_modules`."""
    mask_losses: tuple[str, ...] = ()
    """The loss terms that learn from objects' masks."""
    fixed_options: tuple[str, ...] = ()
    """Options of the Model Garden that `implementation` does not read; a value other than the default is refused."""
    loss_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The weight of a loss term in recipes, where it is not 1."""
    rules: Callable[[Any, int], Iterator[tuple[tuple[str | int, ...], str]]] | None = None
    """Given the options and the number of classes: what is wrong in them, as (path below the model, text)."""
    own_input: str = ''
    """Place of a class like `stagetrain.training.experiment.ExperimentInput`, for a network that does not read images with
    boxes: it makes the batches and measures. Such a network gives no detections, nothing of it is stored, and its stages count
    steps."""
    adapt: Callable[[DetectorSpec, Any], DetectorSpec] | None = None
    """For a network whose modules its options name: returns the spec with them filled in, for given options."""


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A backbone that the Model Garden does not have; `implementation` builds it from its options."""

    name: str
    options: type[pydantic.BaseModel]
    implementation: str
    preprocessing: str = MODEL_GARDEN_PREPROCESSING
    """How images are normalised, by a name of `stagetrain.images.normalization.normalize`."""


@dataclasses.dataclass(frozen=True)
class FormatSpec:
    """A data format; `implementation` is a reader (see `stagetrain.data.annotation`)."""

    name: str
    implementation: str
    inputs: str = ''
    """A function `inputs(source) -> list[str]`: the files and folders, besides images, that decide what the reader gives.
    Without it the data set is read anew each time, instead of from the cache."""
    class_names: str = ''
    """A function `class_names(source) -> tuple[str, ...]`: what classes the data set tells of, for `stagetrain data`."""
    recognise: str = ''
    """A function `recognise(source) -> (source, reason) | None` for `format: auto`: how to read `source.path` in this format."""
    has_masks: bool = False
    """Whether `masks: true` of a data source gives its objects masks."""


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """A kind of weight file; `implementation` is a function `read(path) -> {name: array}` and runs nothing that a file says.

    A variable is found by its canonical name, by `layer/attribute` or by its own name behind its layer's; `rules` of the pipeline
    file map other names.
    """

    name: str
    implementation: str


_detectors: dict[str, DetectorSpec] = {}
_backbones: dict[str, BackboneSpec] = {}
_formats: dict[str, FormatSpec] = {}
_sources: dict[str, SourceSpec] = {}


def register_detector(spec: DetectorSpec) -> None:
    """Makes `model: {type: NAME}` valid."""
    _register(_detectors, spec.name, spec)


def register_backbone(spec: BackboneSpec) -> None:
    """Makes `model: {backbone: {type: NAME}}` valid."""
    _register(_backbones, spec.name, spec)
    options.register_backbone_options(spec.name, spec.options)


def register_format(spec: FormatSpec) -> None:
    """Makes `data: {train: {format: NAME}}` valid."""
    _register(_formats, spec.name, spec)


def register_source(spec: SourceSpec) -> None:
    """Makes `sources: {x: {NAME: PATH}}` valid."""
    _register(_sources, spec.name, spec)


def detector(name: str) -> DetectorSpec:
    """Returns a registered detector; raises `ConfigError` naming the known ones."""
    return _get(_detectors, name, 'model.type')


def spec_of(model: Any) -> DetectorSpec:
    """Returns the spec of a network with given options, by their `type`."""
    spec = detector(model.type)
    return spec.adapt(spec, model) if spec.adapt else spec


def backbone(name: str) -> BackboneSpec | None:
    """Returns a registered backbone, or None when the Model Garden's own factory knows it."""
    return _backbones.get(name)


def preprocessing(backbone_type: str) -> str:
    """Returns how images are normalised for a backbone, registered or the Model Garden's."""
    spec = _backbones.get(backbone_type)
    return spec.preprocessing if spec else MODEL_GARDEN_PREPROCESSING


def data_format(name: str) -> FormatSpec:
    """Returns a registered data format; raises `ConfigError` naming the known ones."""
    return _get(_formats, name, 'format')


def source(name: str) -> SourceSpec:
    """Returns a registered kind of weight file; raises `ConfigError` naming the known ones."""
    return _get(_sources, name, 'sources')


def sources() -> tuple[str, ...]:
    """Returns the names of all registered kinds of weight files, in the order in which they were registered."""
    return tuple(_sources)


def detectors() -> tuple[DetectorSpec, ...]:
    """Returns all registered detectors by name."""
    return tuple(_detectors[name] for name in sorted(_detectors))


def formats() -> tuple[str, ...]:
    """Returns the names of all registered data formats."""
    return tuple(sorted(_formats))


def load_implementation(place: str) -> Any:
    """Imports `package.module:attribute`; this is where TensorFlow comes in."""
    module, attribute = place.split(':')
    return getattr(importlib.import_module(module), attribute)


def _register(registry: dict[str, Any], name: str, spec: Any) -> None:
    if registry.get(name, spec) != spec:
        raise ConfigError(f"'{name}' is registered already, as {registry[name]}; expected a new name")
    registry[name] = spec


def _get(registry: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in registry:
        raise ConfigError(f"{place}: found '{name}', known here: {known_names(registry)}.{suggestion(name, registry)}")
    return registry[name]


class KerasBackbone(options.Strict):
    """A network of `tf_keras.applications`, whose published `.h5` files load by layer name."""

    endpoints: dict[Annotated[str, pydantic.Field(pattern=r'^[1-9]$')], str] = pydantic.Field(default_factory=dict)
    """Level (stride 2^level, as text) -> layer that gives its features, in place of the usual ones."""
    surgery: list[Operation] = pydantic.Field(default_factory=list)
    """Layers left out, put in or replaced, in this order; all others keep their names and published weights."""


class KerasVgg(KerasBackbone):
    """`tf_keras.applications.VGG16` or `VGG19`; level 4 is the paper's conv5_3, or conv5_4."""

    width: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Multiplies the filters of every convolution; published weights fit 1.0 only."""


class KerasMobileNetV1(KerasBackbone):
    """`tf_keras.applications.MobileNet`: the network that the published ImageNet `.h5` files hold."""

    alpha: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Width multiplier, as in the weight file's name: 0.25, 0.5, 0.75 or 1.0."""


class KerasMobileNet(KerasBackbone):
    """`tf_keras.applications.MobileNetV2`."""

    alpha: Annotated[float, pydantic.Field(gt=0)] = 1.0
    """Width multiplier, as in the weight file's name."""


class KerasMobileNetV3(KerasMobileNet):
    """`tf_keras.applications.MobileNetV3Small` or `MobileNetV3Large`, which normalise images inside."""

    minimalistic: bool = False
    """Without squeeze-and-excitation, hard-swish and 5x5 convolutions; its weight files say `minimalistic`."""


class KerasEfficientNet(KerasBackbone):
    """`tf_keras.applications.EfficientNetB0`, which normalises images inside; without random dropping of blocks."""

    imagenet_rescaling: bool = True
    """Rescale the normalised image as Keras does for `weights='imagenet'` only: the published ImageNet weights need it; weights
    that were trained from `weights=None` must not have it."""


def _retinanet_options() -> type[pydantic.BaseModel]:
    """The Model Garden's `RetinaNet` with its `Losses` and `Parser`, less what a stage or the data decides."""
    losses = options.options_model('retinanet_losses', ('loss_weight', 'box_loss_weight'))
    parser = one_stage_parser()
    fields: dict[str, Any] = {
        'type': (Literal['retinanet'], ...),
        'losses': (losses, pydantic.Field(default_factory=losses)),
        'parser': (parser, pydantic.Field(default_factory=parser)),
    }
    base = options.options_model('retinanet', ('num_classes',))
    return pydantic.create_model('RetinaNet', __base__=base, __doc__="The Model Garden's RetinaNet.", **fields)


def _centernet_options() -> type[pydantic.BaseModel]:
    """CenterNet's own options, with the Model Garden's backbones, `norm_activation` and augmentation."""
    parser = one_stage_parser()
    shared = options.options_model('retinanet').model_fields
    fields: dict[str, Any] = {name: (shared[name].annotation, shared[name]) for name in ('backbone', 'norm_activation')}
    fields['parser'] = (parser, pydantic.Field(default_factory=parser))
    return pydantic.create_model('CenterNet', __base__=centernet.CenterNet, __doc__=centernet.CenterNet.__doc__, **fields)


def one_stage_parser() -> type[pydantic.BaseModel]:
    """Returns the type of `parser` of a one-stage detector: the Model Garden's, and `aug_rand_vflip` as Faster R-CNN's has it."""
    base = options.options_model('retinanet_parser', ('aug_type', 'aug_policy', 'aug_rand_jpeg'))
    fields: dict[str, Any] = {'aug_rand_vflip': (bool, False), **augmentation.parser_fields()}
    return pydantic.create_model('OneStageParser', __base__=base, **fields)


def _with_modules(spec: DetectorSpec, model: experiments.Experiment) -> DetectorSpec:
    modules = tuple(model.modules)
    return dataclasses.replace(spec, modules=modules, loss_modules=dict.fromkeys(spec.loss_modules, modules))


def _register_backbones() -> None:
    for name, backbone_options, preprocessing_name in (
        ('vgg16', KerasVgg, 'bgr_mean'),
        ('vgg19', KerasVgg, 'bgr_mean'),
        ('resnet50', KerasBackbone, 'bgr_mean'),
        ('resnet101', KerasBackbone, 'bgr_mean'),
        ('mobilenet_v1', KerasMobileNetV1, 'scale_to_one'),
        ('mobilenet_v2', KerasMobileNet, 'scale_to_one'),
        ('mobilenet_v3_small', KerasMobileNetV3, 'none'),
        ('mobilenet_v3_large', KerasMobileNetV3, 'none'),
        ('efficientnet_b0', KerasEfficientNet, 'none'),
    ):
        place = f'stagetrain.detectors.keras_backbones:{name}'
        register_backbone(BackboneSpec(f'keras_{name}', backbone_options, place, preprocessing_name))


def _register_two_stage_detectors() -> None:
    rpn = ('backbone', 'decoder', 'rpn_head')
    head = ('backbone', 'decoder', 'detection_head')
    faster_rcnn = DetectorSpec(
        name='faster_rcnn',
        options=two_stage.faster_rcnn_options,
        modules=('backbone', 'decoder', 'rpn_head', 'detection_head'),
        loss_modules={'rpn_score': rpn, 'rpn_box': rpn, 'frcnn_class': head, 'frcnn_box': head},
        implementation='stagetrain.detectors.faster_rcnn:FasterRcnn',
        detection_modules=head,
        proposal_modules=rpn,
        proposal_losses=('frcnn_class', 'frcnn_box'),
        fixed_options=(*_FIXED_IN_PARSERS, *two_stage.FIXED_OPTIONS),
        rules=two_stage.rules,
    )
    register_detector(faster_rcnn)
    register_detector(
        dataclasses.replace(
            faster_rcnn,
            name='mask_rcnn',
            options=two_stage.mask_rcnn_options,
            modules=(*faster_rcnn.modules, 'mask_head'),
            loss_modules={**faster_rcnn.loss_modules, 'mask': ('backbone', 'decoder', 'mask_head')},
            proposal_losses=(*faster_rcnn.proposal_losses, 'mask'),
            mask_losses=('mask',),
            fixed_options=(*faster_rcnn.fixed_options, *two_stage.CASCADE_OPTIONS),
        )
    )
    single_scale_rpn = ('backbone', 'rpn_head')
    single_scale_head = ('backbone', 'roi_head', 'detection_head')
    register_detector(
        dataclasses.replace(
            faster_rcnn,
            name='faster_rcnn_single_scale',
            options=single_scale.single_scale_options,
            modules=('backbone', 'rpn_head', 'roi_head', 'detection_head'),
            loss_modules={
                **dict.fromkeys(('rpn_score', 'rpn_box'), single_scale_rpn),
                **dict.fromkeys(('frcnn_class', 'frcnn_box'), single_scale_head),
            },
            implementation='stagetrain.detectors.faster_rcnn_single_scale:FasterRcnnSingleScale',
            detection_modules=single_scale_head,
            proposal_modules=single_scale_rpn,
            fixed_options=(*faster_rcnn.fixed_options, two_stage.CASCADE_OPTIONS[0]),
            rules=None,
        )
    )


def _register_one_stage_detectors() -> None:
    register_detector(
        DetectorSpec(
            name='retinanet',
            options=_retinanet_options,
            modules=('backbone', 'decoder', 'head'),
            loss_modules=dict.fromkeys(('class', 'box'), ('backbone', 'decoder', 'head')),
            implementation='stagetrain.detectors.retinanet:RetinaNet',
            loss_weights={'box': 50.0},  # The Model Garden's `box_loss_weight`.
            detection_modules=('backbone', 'decoder', 'head'),
            fixed_options=(
                'detection_generator.apply_nms',
                'detection_generator.decode_boxes',
                'detection_generator.return_decoded',
                'detection_generator.tflite_post_processing',
                'head.attribute_heads',
                'head.share_classification_heads',
                *_FIXED_IN_PARSERS,
            ),
        )
    )
    register_detector(
        DetectorSpec(
            name='centernet',
            options=_centernet_options,
            modules=('backbone', 'decoder', 'head'),
            loss_modules=dict.fromkeys(('heatmap', 'size', 'offset'), ('backbone', 'decoder', 'head')),
            implementation='stagetrain.detectors.centernet:CenterNet',
            detection_modules=('backbone', 'decoder', 'head'),
            loss_weights={'size': 0.1},  # Zhou et al. 2019, section 4.
            fixed_options=_FIXED_IN_PARSERS,
        )
    )


def _register_experiments() -> None:
    register_detector(
        DetectorSpec(
            name=experiments.TYPE,
            options=lambda: experiments.Experiment,
            modules=(),
            loss_modules={experiments.TERM: ()},
            implementation='stagetrain.detectors.experiment:Experiment',
            rules=experiments.rules,
            own_input='stagetrain.training.experiment:ExperimentInput',
            adapt=_with_modules,
        )
    )


def _register_formats_and_sources() -> None:
    for name, module in (('coco', 'coco'), ('csv', 'csv_boxes'), ('tfrecord', 'tfrecord'), ('voc', 'voc')):
        place = f'stagetrain.data.{module}'
        functions = (f'{place}:read', f'{place}:inputs', f'{place}:class_names', f'{place}:recognise')
        register_format(FormatSpec(name, *functions, has_masks=name == 'coco'))
    for name in ('keras_h5', 'checkpoint', 'saved_model', 'tf1_checkpoint'):
        register_source(SourceSpec(name, f'stagetrain.weights.sources:read_{name}'))
    auto = 'stagetrain.data.recognise'
    register_format(FormatSpec('auto', f'{auto}:read', f'{auto}:inputs', f'{auto}:class_names'))


_register_backbones()
_register_two_stage_detectors()
_register_one_stage_detectors()
_register_experiments()
_register_formats_and_sources()
