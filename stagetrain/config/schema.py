"""The pipeline file: every key, its type and what it means.

    pipeline = pipeline_type().model_validate({...})     # `load.load_pipeline` does this with file and line in every error
    python -m stagetrain.config.schema > configs/schema.json

A field's text below is its documentation, here and in editors (`stagetrain schema`). Keys of type
`Cosmetic` do not count when a stage is judged up to date.
"""

from __future__ import annotations

import functools
import json
from typing import Annotated, Any, Literal, Union

import pydantic
from pydantic import Field, StringConstraints

from stagetrain.config import artefacts, bounds, callbacks, documentation, losses, recipe_budgets, specs, stage_kinds, strategies
from stagetrain.config.builtin.features import Features
from stagetrain.config.builtin.proposals import Proposals
from stagetrain.config.model_garden import optimization
from stagetrain.config.options import Cosmetic, NetworkOptions, NoOptions, Strict

Name = Annotated[str, StringConstraints(pattern=r'^[a-z][a-z0-9_]*$', max_length=64)]
Positive = Annotated[int, Field(gt=0)]
MAX_STEPS = 99_999_999
"""Checkpoint folders are named by eight digits."""
RecipeName = Literal['four_step', 'four_step_carry', 'end_to_end', 'unshared', 'heads_then_all', 'gradual_unfreeze']
"""`config/recipes` makes them."""
Steps = Annotated[int, Field(gt=0, le=MAX_STEPS)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
"""What stateless random numbers take; of a larger number they would see a part."""

FRESH = 'fresh'
"""What `init` calls the initialiser."""


def source_kinds() -> tuple[str, ...]:
    """Returns the keys of a source that say what it is, exactly one of which is given: the registered ones, and `run`."""
    return (*specs.sources(), 'run')


class DataSource(Strict):
    """One data set, or one part of it."""

    format: str
    """Name of a registered format, such as voc, coco, csv or tfrecord; or auto, which recognises them."""
    path: str
    """Folder (voc, yolo), JSON file (coco), CSV file (csv, csv_header), file or file pattern (tfrecord), as docs/data.md says of
    each. Relative paths start from the folder of the pipeline file."""
    split: str | None = None
    """voc: a file of `ImageSets/Main` without `.txt`. coco and csv: which file of a folder. Or a folder, `train`, `valid`, ..."""
    images: str | None = None
    """The folder that image names are relative to, for formats that list images in a file. Without it csv takes that of its file,
    the others look around it."""
    class_file: str | None = None
    """csv, csv_header: the class file (`name,id`), `classes.csv` beside the file by default. tfrecord: the label map (`.pbtxt`).
    yolo: class names, one a line."""
    masks: bool = False
    """coco, yolo, labelme, tfrecord: read the objects' masks too (`segmentation`, polygons), for Mask R-CNN; an object without
    one is a bad item."""
    include_difficult: bool = False
    """voc: train on objects that the annotator marked as difficult. In evaluation they always count as 'ignore'."""


class Data(Strict):
    """What is trained and validated on."""

    classes: Annotated[list[str], Field(min_length=1)]
    """Class names; the first has id 1, id 0 is the background."""
    ignore_classes: list[str] = Field(default_factory=list)
    """Classes of the data set whose objects are left out. An object of a class that is named nowhere is a bad item."""
    train: DataSource
    """What stages train on, and proposals are made for."""
    validation: DataSource
    """What the end of each stage is judged on."""
    on_bad: Literal['skip', 'error'] = 'error'
    """What happens to images and boxes that cannot be used: stop before training, or leave them out and count them."""
    max_image_pixels: Positive = 50_000_000
    """Images with more pixels are bad: a 2 MB JPEG can decode to gigabytes."""
    cache_gib: Cosmetic[Annotated[float, Field(ge=0)]] = 2.0
    """Cosmetic. Memory for decoded images."""


class Source(Strict):
    """Weights from outside the pipeline: exactly one of its kinds (keras_h5, checkpoint, saved_model, tf1_checkpoint, what
    plugins register) or run. Only arrays are read; no layer is deserialised and no code in a file runs."""

    run: str | None = None
    """Another run directory of stagetrain; its stage must be done."""
    stage: str | None = None
    """run: the stage whose checkpoint is taken; the last one of that pipeline by default."""
    rules: dict[str, str] = Field(default_factory=dict)
    r"""Pattern -> template, for files with names of their own: a name that a pattern (a regular expression) matches in full
    stands for the canonical name that the template gives, e.g. `Conv_(\d+)/weights: backbone/conv_\1/kernel`. The first
    pattern that matches decides; what none matches is not used."""
    require: Annotated[float, Field(gt=0, le=1)] | None = None
    """With `skip_mismatch`: the least share of a module's variables that must be found here."""

    @property
    def kind(self) -> str:
        """Which of `source_kinds` it is."""
        return next(kind for kind in source_kinds() if getattr(self, kind, None) is not None)

    @property
    def path(self) -> str:
        """The file, folder or prefix."""
        return str(getattr(self, self.kind))

    @property
    def reading(self) -> dict[str, Any]:
        """How it is read, as far as that is not the usual way: `rules`, `require`."""
        given: dict[str, Any] = {'rules': self.rules, 'require': self.require}
        return {name: value for name, value in given.items() if value}

    @pydantic.model_validator(mode='after')
    def _exactly_one(self) -> Source:
        _require_one(self, source_kinds())
        if self.stage is not None and self.run is None:
            raise ValueError(f'stage: goes with run only; found beside {self.kind}')
        if self.rules and self.run is not None:
            raise ValueError('rules: found beside run; the names in a run directory are canonical already')
        return self


class Init(Strict):
    """Where a module's weights come from, in long form; `{backbone: imagenet}` is short for `{backbone: {from: imagenet}}`."""

    model_config = pydantic.ConfigDict(populate_by_name=False)

    origin: str = Field(alias='from')
    """An earlier stage, a key of `sources`, or `fresh`."""
    skip_mismatch: bool = False
    """Leave variables fresh that the source lacks or has in another shape; what was skipped is recorded."""
    classes: Literal['by_name', 'by_position'] | None = None
    """For a source whose class list differs from `data.classes` in names or order: take the numbers of each class by its name, or
    as they stand. Without it that is an error."""


class EarlyStopping(Strict):
    """Ends a stage when its `best_metric` gets no better."""

    patience: Positive = 3
    """Evaluations in a row without a better value before the stage ends."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much a value must be better to count."""


class ReduceOnPlateau(Strict):
    """Lowers the learning rate when the stage's `best_metric` gets no better."""

    patience: Positive = 2
    """Evaluations in a row without a better value before the rate falls."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """What the rate is multiplied by then."""
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    """By how much a value must be better to count."""
    cooldown: Annotated[int, Field(ge=0)] = 0
    """Evaluations that do not count after the rate fell."""
    min_factor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The rate never falls below this share of what the schedule says."""


class Ema(Strict):
    """Exponential moving averages of the trained variables. They begin as the weights themselves; the averages are what is
    evaluated and handed over, training goes on with the weights."""

    average_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """Share of the old average that each step keeps."""
    dynamic_decay: bool = True
    """Keep less in the first steps: at most (1 + step) / (10 + step), as `tf.train.ExponentialMovingAverage` does."""


class Ramp(Strict):
    """Raises a loss weight linearly from a stage's first step on."""

    start: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the weight in the first step."""
    steps: Positive
    """Steps until the whole weight counts."""


class Train(Strict):
    """How long and with which optimizer a stage trains. Given at top level it is the default of every stage."""

    steps: Steps | None = None
    """Optimizer steps. Exactly one of `steps` and `epochs`."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Passes over the training set."""
    batch_size: Positive = 4
    """Images a step, over all replicas."""
    repeat_threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """Oversampling of rare classes: images with a class that only a share f below this of the images holds are shown
    sqrt(repeat_threshold / f) times as often (Gupta et al. 2019). `epochs` goes on counting the images of the data set."""
    optimizer: optimization.OptimizerConfig
    """The Model Garden's: `{type: sgd, sgd: {momentum: 0.9}}`."""
    learning_rate: optimization.LrConfig
    """The Model Garden's: `{type: stepwise, stepwise: {boundaries: [...], values: [...]}}`; steps count from a stage's start."""
    warmup: optimization.WarmupConfig | None = None
    """The Model Garden's: `{type: linear, linear: {warmup_steps: ..., warmup_learning_rate: ...}}`."""
    learning_rate_multipliers: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Scope -> what the steps of the variables that it matches are multiplied by, e.g. `.*/bias: 2.0`; where several match, their
    factors multiply. With every optimizer this is the same as another learning rate."""
    gradient_accumulation: Positive = 1
    """Parts that a batch is computed in, one after the other, with their gradients averaged: less memory. `batch_size` stays the
    images of an optimizer step and must be a multiple. BatchNorm sees the parts, not the batch."""
    ema: Ema | None = None
    """Moving averages of the weights."""
    checkpoint_interval: Cosmetic[Positive] = 500
    """Cosmetic. Steps between checkpoints; at most so many are lost when a machine dies. One takes about half a second."""
    checkpoint_minutes: Cosmetic[Annotated[float, Field(gt=0)] | None] = None
    """Cosmetic. Save also when this much time has passed since the last checkpoint."""
    summary_interval: Cosmetic[Positive] = 20
    """Cosmetic. Steps between lines of `metrics.jsonl`."""
    validation_interval: Positive | None = None
    """Steps between evaluations on the validation set; none: only at the end, and no checkpoint is kept as the best."""
    best_metric: str = 'AP'
    """With `validation_interval`: the metric that decides which checkpoint is kept as the best (AP, recall_0.5, AR@300, ...)."""
    best_mode: Literal['max', 'min'] = 'max'
    """Whether a higher or a lower value of `best_metric` is better."""
    hand_over: Literal['last', 'best'] = 'last'
    """Which weights are the stage's result: those of the last step, or those with the best `best_metric`."""
    early_stopping: EarlyStopping | None = None
    """With `validation_interval`: end the stage before its last step when `best_metric` gets no better."""
    reduce_on_plateau: ReduceOnPlateau | None = None
    """With `validation_interval`: lower the learning rate when `best_metric` gets no better."""
    max_loss: Cosmetic[Annotated[float, Field(gt=0)] | None] = None
    """Cosmetic. A total loss above this counts as one that is not finite."""
    on_nan: Cosmetic[Literal['stop', 'skip_batch', 'rollback']] = 'stop'
    """Cosmetic. After a loss or gradient that is not finite, which is never applied: end the stage; go on with the next batch; or
    go back to the last checkpoint and on from there with half the learning rate."""
    on_nan_limit: Cosmetic[Positive] = 3
    """Cosmetic. How often a stage may skip or roll back before it ends after all."""
    max_to_keep: Cosmetic[Positive] = 2
    """Cosmetic. Checkpoints kept; at least two are wise, for the newest may be torn."""

    @pydantic.model_validator(mode='after')
    def _exactly_one(self) -> Train:
        _require_one(self, ('steps', 'epochs'))
        return self

    @pydantic.model_validator(mode='after')
    def _needs_evaluations(self) -> Train:
        wanting = [name for name in ('early_stopping', 'reduce_on_plateau') if getattr(self, name) is not None]
        wanting += ['hand_over: best'] if self.hand_over == 'best' else []
        if wanting and self.validation_interval is None:
            raise ValueError(f'{wanting[0]}: found without validation_interval, so nothing could be judged; give that too')
        return self

    @pydantic.model_validator(mode='after')
    def _whole_parts(self) -> Train:
        if self.batch_size % self.gradient_accumulation:
            raise ValueError(
                f'gradient_accumulation: found {self.gradient_accumulation}; expected a divisor of batch_size, {self.batch_size}'
            )
        return self


class Stage(Strict):
    """Trains some variables with some losses for some steps, starting from sources; leaves a checkpoint."""

    name: Name
    """What other stages, commands and the run directory call it. A variant may use the names of the pipeline's stages again."""
    kind: str = stage_kinds.TRAIN
    """How its checkpoint is made: `train`, or a kind that a plugin registers. One that does not train takes none of the keys
    below but `model` and `require`, and has keys of its own."""
    model: str | None = None
    """A key of `models`: what this stage trains in place of the pipeline's `model`. Modules of the same name are handed on."""
    init: dict[str, Init] = Field(default_factory=dict)
    """Module -> where its weights come from. A module that a loss needs and that is not named starts fresh; one that is named
    but that no loss needs is carried along into the checkpoint."""
    freeze_variables: list[str] = Field(default_factory=list)
    """Scopes: regular expressions on canonical names (`backbone/conv1/kernel`), full match. These stay bit-identical."""
    freeze_up_to: str | None = None
    """A layer of the backbone, e.g. `block3_pool`: frozen are this layer and all that it computes its output from."""
    train_variables: list[str] | None = None
    """Scopes; when given, everything else is frozen. `freeze_variables` wins where both match."""
    allow_frozen_fresh: list[str] = Field(default_factory=list)
    """Scopes of variables that may be frozen at their random initial value; without it that is an error."""
    loss_weights: dict[str, Annotated[float, Field(ge=0)]]
    """Loss term -> weight. 0 or absent: the term is not built at all."""
    loss_ramps: dict[str, Ramp] = Field(default_factory=dict)
    """Loss term -> how its weight rises in the first steps."""
    proposals: Proposals | None = None
    """Stored proposals; without it a detector stage runs its own RPN."""
    features: Features = Field(default_factory=Features)
    """Stored outputs of the frozen part of the network."""
    seed: Seed | None = None
    """Overrides the pipeline's seed in this stage."""
    train: Train
    """How long and with which optimizer; what is not given comes from the top-level `train`."""
    require: Cosmetic[dict[str, str]] = Field(default_factory=dict)
    """Cosmetic. A gate: metric of `evaluation.json` -> bound that the trained stage must keep, `{recall_0.5: '>= 0.8'}`, or the
    pipeline fails there. Metrics of proposals may be called `proposal_recall_0.5` too."""

    @pydantic.model_validator(mode='before')
    @classmethod
    def _without_training(cls, value: Any) -> Any:
        if isinstance(value, dict) and stage_kinds.does_not_train(value.get('kind')):
            given = value.get('train')  # Not one of its keys, which `check` says; its own keys need not be judged too.
            return {'loss_weights': {}, **value, 'train': {**stage_kinds.ONE_STEP, **(given if isinstance(given, dict) else {})}}
        return value

    @pydantic.model_validator(mode='after')
    def _keys_of_its_kind(self) -> Stage:
        spec = stage_kinds.stage_kind(self.kind)
        required = [name for name, field in spec.settings.model_fields.items() if field.is_required()]
        missing = [name for name in required if getattr(self, name, None) is None]
        if missing:
            raise ValueError(f'{missing[0]}: missing; a stage of kind {spec.name} needs it')
        return self

    @pydantic.field_validator('init', mode='before')
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return _long_init(value)

    @pydantic.field_validator('require')
    @classmethod
    def _bounds(cls, value: dict[str, str]) -> dict[str, str]:
        for metric, text in value.items():
            try:
                bounds.parse(text)
            except ValueError as error:
                raise ValueError(f'{metric}: {error}') from error
        return value

    @pydantic.field_validator('features', mode='before')
    @classmethod
    def _short_features(cls, value: Any) -> Any:
        return {'store': value} if isinstance(value, str) else value


class Recipe(Strict):
    """A pipeline by name. `recipe: four_step` is short for `recipe: {name: four_step}`; `stagetrain plan --expand` shows the
    stages that it stands for."""

    name: RecipeName
    """Which recipe; `docs/pipeline_file.md` says when to use which."""
    init: dict[str, Init] | None = None
    """Module -> where its weights come from, in every stage that starts from no other stage. Must be given when there are
    sources; modules that are not named start fresh."""
    loss_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Loss term -> its weight in the stages that train it, where it is not the detector's usual one."""
    freeze_up_to: list[str] = Field(default_factory=list)
    """gradual_unfreeze: layers of the backbone, the deepest first; each gives a stage that freezes the backbone up to there."""
    budget: Annotated[float, Field(gt=0)] | str | None = None
    """four_step, unshared, end_to_end: what training may cost, divided between the stages: `2400` is as much as so many steps of
    end-to-end training; `90s`, `20m` and `1.5h` are times, for which `stagetrain run` first measures the steps on this machine.
    Schedules are stretched from the top-level `train.steps`. A stage that `stages` gives steps of its own keeps them."""
    stages: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Stage -> keys of a stage, merged over what the recipe says of it: `{rpn_1: {train: {steps: 300}}}`."""

    @pydantic.field_validator('init', mode='before')
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return _long_init(value)

    @pydantic.field_validator('budget')
    @classmethod
    def _amount(cls, value: float | str | None) -> float | str | None:
        if value is not None:
            recipe_budgets.parse(value)
        return value


class Variant(Strict):
    """Something to compare with: stages of its own, or the pipeline stopped early. Exactly one key."""

    stages: Annotated[list[Stage], Field(min_length=1)] | None = None
    """Stages that run beside the pipeline's own, e.g. one that trains everything at once."""
    until: str | None = None
    """A stage of the pipeline, whose result is the variant's; with `proposals` this is the paper's 'unshared' ablation."""

    @pydantic.model_validator(mode='after')
    def _exactly_one(self) -> Variant:
        _require_one(self, ('stages', 'until'))
        return self


class Runtime(Strict):
    """How the machine is used."""

    deterministic: bool = True
    """Deterministic ops: the same seed gives the same bits. On GPU some ops are slower or refused; on CPU it costs nothing, and
    false counts for `experiment` alone."""
    intra_op_threads: Annotated[int, Field(ge=1)] = 2
    """Size of TensorFlow's thread pool inside an op. Pinned, for bits depend on it; it counts for up to date."""
    inter_op_threads: Annotated[int, Field(ge=1)] = 2
    """Size of TensorFlow's thread pool between ops. Pinned and counted likewise."""
    strategy: str = strategies.ONE_DEVICE
    """Which devices a stage computes on and how: a registered `tf.distribute` strategy, with its options in a key of its name
    beside it. `mirrored` shares every batch between the GPUs of a machine. `tpu` does not work yet and is refused by `check`,
    with the reason."""


class Evaluation(Strict):
    """How validation is run."""

    batch_size: Cosmetic[Positive] = 8
    """Cosmetic. Images a step."""
    num_proposals: Annotated[list[Positive], Field(min_length=1)] = Field(default_factory=lambda: [100, 300, 1000])
    """Numbers of proposals at which the recall of the RPN is measured."""
    voc_ap: bool = False
    """Measure Pascal VOC's AP at IoU 0.5 too, by 11 points (VOC 2007) and by area (from VOC 2010 on), overall and per class."""
    max_detections: Annotated[int, Field(gt=100)] | None = None
    """For images of more than 100 objects: up to so many detections of an image are made, here and in `stagetrain detect`, and AP
    and AR are measured at that number beside COCO's, which stop at 100:
    `AP@500`, `AP50@500`, `AP75@500`, `AR500`, `AP@500/cat`."""


class PipelineBase(Strict):
    """A pipeline: model, data, sources, stages, comparisons."""

    name: Cosmetic[Name] = 'pipeline'
    """Cosmetic. Shown in reports."""
    seed: Seed = 0
    """All random numbers derive from (seed, stage, step, image)."""
    plugins: list[str] = Field(default_factory=list)
    """Python modules, installed or beside the file, that register detectors, backbones or formats; imported before the file is
    checked."""
    model: NetworkOptions
    """The detector: `type` and the Model Garden's own options, with its `losses` and `parser`."""
    models: dict[Name, NetworkOptions] = Field(default_factory=dict)
    """Other networks by name, for stages that say `model: NAME`: e.g. a classifier whose backbone the detector starts from."""
    data: Data
    sources: dict[Name, Source] = Field(default_factory=dict)
    """Weight files by name."""
    stages: Annotated[list[Stage], Field(min_length=1)]
    """In order; the last one's checkpoint is the pipeline's result."""
    compare: dict[Name, Variant] = Field(default_factory=dict)
    """Variants to compare the pipeline with."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    runtime: Runtime = Field(default_factory=Runtime)


@functools.cache
def stage_type() -> type[Stage]:
    """Returns the type of a stage with a key for every kind of artefact, and for the losses, registered so far."""
    more: dict[str, Any] = {
        spec.name: (spec.settings | None, None) for spec in artefacts.kinds() if spec.name not in Stage.model_fields
    }
    more |= _keys_of_kinds()
    if losses.kinds():
        terms: dict[str, Any] = {spec.name: (spec.settings | None, None) for spec in losses.kinds()}
        added = pydantic.create_model(
            'Losses', __base__=Strict, __doc__="Losses added to the network's own, with settings.", **terms
        )
        more['losses'] = (added, Field(default_factory=added))
    return pydantic.create_model('Stage', __base__=Stage, __doc__=Stage.__doc__, **more)


def _keys_of_kinds() -> dict[str, Any]:
    """Returns the field `kind` with the kinds registered so far, and the fields that they add, each of which may be left out."""
    names = tuple(spec.name for spec in stage_kinds.kinds())
    text = documentation.of_fields(Stage)['kind']
    fields: dict[str, Any] = {'kind': (Literal[names], Field(stage_kinds.TRAIN, description=text))}
    for spec in stage_kinds.kinds():
        texts = documentation.of_fields(spec.settings)
        fields |= {
            name: (field.rebuild_annotation() | None, Field(None, description=texts.get(name)))
            for name, field in spec.settings.model_fields.items()
        }
    return fields


def _runtime_type() -> type[Runtime]:
    """Returns the type of `runtime` with every strategy registered so far, and a key for the options of each that has some."""
    names = tuple(spec.name for spec in strategies.kinds())
    fields: dict[str, Any] = {
        spec.name: (spec.options | None, Field(None, description=f'Options of the strategy {spec.name}.'))
        for spec in strategies.kinds()
        if spec.options is not NoOptions
    }
    text = documentation.of_fields(Runtime)['strategy']
    fields['strategy'] = (Literal[names], Field(strategies.ONE_DEVICE, description=text))
    return pydantic.create_model('Runtime', __base__=Runtime, __doc__=Runtime.__doc__, **fields)


def clear_types() -> None:
    """Has the types made anew: a plugin has registered something."""
    stage_type.cache_clear()
    pipeline_type.cache_clear()


@functools.cache
def pipeline_type() -> type[PipelineBase]:
    """Returns the type of a pipeline file with every detector and kind of weight file registered so far."""
    detectors = tuple(specs.model_type(spec) for spec in specs.detectors())
    model: Any = detectors[0]
    if len(detectors) > 1:
        model = Annotated[Union[detectors], Field(discriminator='type')]
    fields: dict[str, Any] = {'model': (model, ...), 'models': (dict[Name, model], Field(default_factory=dict))}
    runtime: Any = _runtime_type()
    fields['runtime'] = (runtime, Field(default_factory=runtime))
    stages: Any = Annotated[list[stage_type()], Field(min_length=1)]  # type: ignore[misc]
    variant: Any = pydantic.create_model('Variant', __base__=Variant, __doc__=Variant.__doc__, stages=(stages | None, None))
    fields |= {'stages': (stages, ...), 'compare': (dict[Name, variant], Field(default_factory=dict))}
    kinds: dict[str, Any] = {
        kind: (str | None, Field(None, description=specs.source(kind).description or None)) for kind in specs.sources()
    }
    source: Any = pydantic.create_model('Source', __base__=Source, __doc__=Source.__doc__, **kinds)
    fields['sources'] = (dict[Name, source], Field(default_factory=dict, description='Weight files by name.'))
    if callbacks.kinds():
        known: dict[str, Any] = {spec.name: (spec.settings | None, None) for spec in callbacks.kinds()}
        listening = pydantic.create_model('Callbacks', __base__=Strict, __doc__='What listens to a run, by name.', **known)
        fields['callbacks'] = (listening, Field(default_factory=listening, description=listening.__doc__))
    return pydantic.create_model('Pipeline', __base__=PipelineBase, __doc__=PipelineBase.__doc__, **fields)


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema of pipeline files as they are written, for editors.

    It differs from the type's own schema in what loading supplies or accepts: `base`, `recipe`, a top-level `train`, the short
    form of `init`; and nothing is required that a base file or the top-level `train` may bring.
    """
    result = pipeline_type().model_json_schema()
    parts = result['$defs']
    train = {'$ref': '#/$defs/Train', 'description': 'What every stage trains like, unless it says otherwise.'}
    base = {'type': 'string', 'description': 'Another pipeline file, relative to this one; this one adds to it and replaces.'}
    parts['Recipe'] = {key: value for key, value in Recipe.model_json_schema().items() if key != '$defs'}
    recipe = {
        'anyOf': [parts['Recipe']['properties']['name'], {'$ref': '#/$defs/Recipe'}],
        'description': 'Stages by name, in place of `stages`.',
    }
    result['properties'] = {'base': base, **result['properties'], 'train': train, 'recipe': recipe}
    parts['Variant']['properties']['recipe'] = recipe
    del result['required']
    del parts['Train']['required']
    parts['Stage']['required'].remove('train')
    init = {'anyOf': [{'type': 'string'}, {'$ref': '#/$defs/Init'}]}
    parts['Stage']['properties']['init']['additionalProperties'] = init
    parts['Recipe']['properties']['init'] = {**parts['Stage']['properties']['init'], **_described(parts['Recipe'], 'init')}
    return {'$schema': 'https://json-schema.org/draft/2020-12/schema', **result}


def _described(part: dict[str, Any], name: str) -> dict[str, Any]:
    return {'description': part['properties'][name]['description']}


def long_origin(origin: Any) -> Any:
    """Returns a module's `init` in its long form: `imagenet` is short for `{from: imagenet}`."""
    return {'from': origin} if isinstance(origin, str) else origin


def _long_init(value: Any) -> Any:
    return {module: long_origin(origin) for module, origin in value.items()} if isinstance(value, dict) else value


def _require_one(value: Strict, names: tuple[str, ...]) -> None:
    given = [name for name in names if getattr(value, name, None) is not None]
    if len(given) != 1:
        raise ValueError(f'expected exactly one of {", ".join(names)}; found {" and ".join(given) or "none"}')


if __name__ == '__main__':
    print(json.dumps(json_schema(), indent=1))
