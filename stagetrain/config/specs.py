"""What a pipeline file may name: detectors, backbones, data formats and kinds of weight files, told without importing TensorFlow.

A spec holds the facts that planning needs (modules, loss terms, option types) and the place of the code that does the work, as
`package.module:attribute`, imported only by the process that carries a stage out. To add one: one new file that registers a spec,
in `config/builtin`, or named under `plugins:` of the pipeline file when it lives outside this package.
"""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydantic

from stagetrain.config.backbones import with_backbones
from stagetrain.config.contracts import BuildBackbone, BuildEvaluator, BuildInput, BuildNetwork, CodePlace
from stagetrain.config.contracts import load_implementation as load_implementation
from stagetrain.config.options import NetworkOptions
from stagetrain.config.registry import Registry
from stagetrain.errors import ConfigError, known_names, suggestion

MODEL_GARDEN_PREPROCESSING = 'imagenet_mean_std'
"""How the Model Garden normalises images; also the default of registered backbones."""


@dataclasses.dataclass(frozen=True)
class DetectorSpec:
    """A detector: `modules` in network order, and which of them each loss term needs in its graph."""

    name: str
    options: type[NetworkOptions]
    """The type of `model`."""
    modules: tuple[str, ...]
    loss_modules: Mapping[str, tuple[str, ...]]
    implementation: CodePlace[BuildNetwork]
    detection_modules: tuple[str, ...] = ()
    """The modules that give detections, besides `proposal_modules` or stored proposals; empty when it gives none."""
    front_modules: tuple[str, ...] = ('backbone', 'decoder')
    """The modules in front of the heads, from the image on; those of them that a stage freezes can have their outputs stored. One
    that `modules` lack does not count."""
    proposal_modules: tuple[str, ...] = ()
    """The modules that give proposals; empty for a detector without a region proposal network."""
    proposal_losses: tuple[str, ...] = ()
    """The loss terms that can be computed on stored proposals instead of `proposal_modules`."""
    mask_losses: tuple[str, ...] = ()
    """The loss terms that learn from objects' masks."""
    class_modules: tuple[str, ...] = ()
    """The modules that have numbers of their own for each class, and so mean a class list."""
    class_layers: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Pattern of canonical names -> how many numbers each class has in the last axis of these variables, where classes stand one
    after the other (again for each anchor). What is told here can be taken from weights whose classes have another order."""
    has_background: bool = True
    """Whether the background is the first class of `class_layers`."""
    max_detections_option: tuple[str, ...] = ()
    """Path of the option that limits the detections of an image, which `evaluation.max_detections` lifts."""
    fixed_options: tuple[str, ...] = ()
    """Options of the Model Garden that `implementation` does not read; a value other than the default is refused."""
    loss_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """The weight of a loss term in recipes, where it is not 1."""
    rules: Callable[[Any, int], Iterator[tuple[tuple[str | int, ...], str]]] | None = None
    """Given the options and the number of classes: what is wrong in them, as (path below the model, text)."""
    input: CodePlace[BuildInput] = CodePlace('')
    """For a network that does not read images with boxes: what makes its batches. Such a network gives no detections, nothing of
    it is stored, and its stages count steps."""
    evaluator: CodePlace[BuildEvaluator] = CodePlace('')
    """What measures such a network; given if and only if `input` is."""
    adapt: Callable[[DetectorSpec, Any], DetectorSpec] | None = None
    """For a network whose modules its options name: returns the spec with them filled in, for given options."""

    @property
    def reads_images(self) -> bool:
        """Whether it reads images with boxes, as `stagetrain.images.network_input.Batch` describes them."""
        return not self.input


@dataclasses.dataclass(frozen=True)
class BackboneSpec:
    """A backbone that the Model Garden does not have; `implementation` builds it from its options."""

    name: str
    options: type[pydantic.BaseModel]
    implementation: CodePlace[BuildBackbone]
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
    box_form: str = 'x1, y1, x2, y2'
    """How a box is written, for the likely cause of faulty ones: a form that `stagetrain.data.box_causes` knows."""
    writer: str = ''
    """A `stagetrain.data.writers.Writer`, for `stagetrain data convert --to`."""
    reads: tuple[str, ...] = ('images', 'class_file')
    """Which of `images` and `class_file` of a data source the reader looks at; the others are refused."""
    splits: str = ''
    """A function `splits(source) -> tuple[str, ...]`: the splits of a folder that is no data set without one of them."""


@dataclasses.dataclass(frozen=True)
class SourceSpec:
    """A kind of weight file; `implementation` is a function `read(path) -> {name: array}` and runs nothing that a file says.

    A variable is found by its canonical name, by `layer/attribute` or by its own name behind its layer's; `rules` of the pipeline
    file map other names.
    """

    name: str
    implementation: str
    description: str = ''
    """What PATH in `sources: {x: {NAME: PATH}}` is, for editors."""


_detectors: Registry[DetectorSpec] = Registry()
_backbones: Registry[BackboneSpec] = Registry()
_formats: Registry[FormatSpec] = Registry()
_sources: Registry[SourceSpec] = Registry()
register_backbone, register_format, register_source = _backbones.register, _formats.register, _sources.register
"""These make `model: {backbone: {type: NAME}}`, `data: {train: {format: NAME}}` and `sources: {x: {NAME: PATH}}` valid."""


def register_detector(spec: DetectorSpec) -> None:
    """Makes `model: {type: NAME}` valid.

    Raises:
      ConfigError: another detector has this name, or only one of `input` and `evaluator` is given.
    """
    if bool(spec.input) != bool(spec.evaluator):
        given = f"input '{spec.input}', evaluator '{spec.evaluator}'"
        raise ConfigError(
            f"detector '{spec.name}': found {given}; expected both, or neither for one that reads images with boxes"
        )
    _detectors.register(spec)


def detector(name: str) -> DetectorSpec:
    """Returns a registered detector; raises `ConfigError` naming the known ones."""
    return _get(_detectors, name, 'model.type')


def spec_of(model: NetworkOptions) -> DetectorSpec:
    """Returns the spec of a network with given options, by their `type`."""
    spec = detector(model.type)
    return spec.adapt(spec, model) if spec.adapt else spec


def backbone(name: str) -> BackboneSpec | None:
    """Returns a registered backbone, or None when the Model Garden's own factory knows it."""
    return _backbones.get(name)


def model_type(spec: DetectorSpec) -> type[NetworkOptions]:
    """Returns the type of a detector's `model`, in which every backbone registered so far may be chosen."""
    return with_backbones(spec.options, {name: registered.options for name, registered in _backbones.items()})


def preprocessing(backbone_type: str) -> str:
    """Returns how images are normalised for a backbone, registered or the Model Garden's."""
    spec = _backbones.get(backbone_type)
    return spec.preprocessing if spec else MODEL_GARDEN_PREPROCESSING


def data_format(name: str) -> FormatSpec:
    """Returns a registered data format; raises `ConfigError` naming the known ones."""
    return _get(_formats, name, 'format')


def unread(format_name: str, option: str) -> str | None:
    """Returns why a data source of a format must not give `images` or `class_file`; None where the reader looks at it."""
    if option in data_format(format_name).reads:
        return None
    instead = {
        'images': "its images lie where the format's layout says",
        'class_file': 'the names of its classes stand in its annotations (data.classes, or --classes, chooses among them)',
    }
    able = known_names(name for name in formats() if option in data_format(name).reads)
    return f'format {format_name} does not read it: {instead[option]}. Remove it. Formats that read it: {able}'


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


def _get(registry: Mapping[str, Any], name: str, place: str) -> Any:
    if name not in registry:
        raise ConfigError(f"{place}: found '{name}', known here: {known_names(registry)}.{suggestion(name, registry)}")
    return registry[name]


def _register_builtins() -> None:
    for module in pkgutil.iter_modules([str(pathlib.Path(__file__).with_name('builtin'))]):
        importlib.import_module(f'stagetrain.config.builtin.{module.name}')


_register_builtins()
