"""Rules across the fields of a pipeline, checked before anything runs and without TensorFlow.

    check_pipeline(load_pipeline('configs/bccd/four_step.yaml'))

What needs the network's real variable names (a scope that matches nothing, a frozen variable that would be fresh) is checked
later, by the code that has the network.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pydantic

from stagetrain.config import artefacts, losses, metric_names, model_rules, schedules, specs, stage_kinds, strategies
from stagetrain.config.document import show_path
from stagetrain.config.load import Loaded
from stagetrain.config.model_rules import Path, Problem
from stagetrain.config.options import NetworkOptions, OneOf
from stagetrain.config.schema import FRESH, DataSource, Init, PipelineBase, Stage, Train
from stagetrain.config.stages import (
    StageEntry,
    all_stages,
    earlier_stages,
    live_losses,
    measured_metrics,
    path_of,
    spec_of,
    stage_modules,
)
from stagetrain.config.validation import raise_problems
from stagetrain.errors import known_names, suggestion

_WORD = re.compile(r'^[A-Za-z_][A-Za-z0-9_]*$')
# Fields of the Model Garden's schedules and warm-ups that may stay None; all others must be given.
_OPTIONAL_IN_SCHEDULES = ('staircase',)


def check_pipeline(loaded: Loaded) -> None:
    """Checks the rules across fields.

    Raises:
      ConfigError: At least one rule is broken; every one is listed with file, line and path.
    """
    # With two stages of one name every reference to it is doubtful, and every module of a stage without a known network is:
    # that comes first and alone.
    problems = [*_names(loaded.pipeline), *_stage_models(loaded.pipeline)] or list(_problems(loaded.pipeline))
    if problems:
        raise_problems(_lines(loaded, problems))
    refused, _ = beyond_the_end(loaded, _given_steps(loaded.pipeline))
    if refused:
        raise_problems(refused)


def remarks(loaded: Loaded) -> list[str]:
    """Returns what of a checked pipeline's schedules will not happen, and is no fault; see `beyond_the_end`."""
    return beyond_the_end(loaded, _given_steps(loaded.pipeline))[1]


def beyond_the_end(loaded: Loaded, num_steps: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Returns what of the schedules of stages lies behind their last steps, a line each with its place.

    Args:
      loaded: a pipeline that is correct otherwise.
      num_steps: stage id -> its steps, of the stages to look at.

    Returns:
      What is refused; and what is told only: where the command line gave the stage's length, as one does to try it out, and
      boundaries of the top-level `train` in a stage with a length of its own.
    """
    refused: list[Problem] = []
    told: list[Problem] = []
    for entry in all_stages(loaded.pipeline):
        path = path_of(loaded.pipeline, entry)
        length = 'steps' if entry.stage.train.steps is not None else 'epochs'
        found = schedules.beyond_the_end(entry.stage, num_steps[entry.id]) if entry.id in num_steps else ()
        for inside, text in found:
            is_told = loaded.is_overridden((*path, 'train', length)) or (
                inside == schedules.BOUNDARIES
                and loaded.is_common((*path, *inside))
                and not loaded.is_common((*path, 'train', length))
            )
            (told if is_told else refused).append(((*path, *inside), text))
    return list(_lines(loaded, refused)), list(_lines(loaded, told))


def _given_steps(pipeline: PipelineBase) -> dict[str, int]:
    entries = all_stages(pipeline)
    return {entry.id: entry.stage.train.steps for entry in entries if entry.stage.train.steps is not None}


def _lines(loaded: Loaded, problems: list[Problem]) -> Iterator[str]:
    told = set()
    for path, text in problems:
        # What stands in the top-level `train` is wrong in every stage and told once.
        place = loaded.place(path)
        if (place, path[-1], text) not in told:
            yield f'{place}: {show_path(path)}: {text}'
        told.add((place, path[-1], text))


def _problems(pipeline: PipelineBase) -> Iterator[Problem]:
    yield from _choices(pipeline, ())
    yield from _runtime(pipeline)
    yield from _data(pipeline)
    yield from _models(pipeline)
    yield from _max_detections(pipeline)
    yield from _sources(pipeline)
    for entry in all_stages(pipeline):
        yield from _kind(pipeline, entry)
        if stage_kinds.trains(entry.stage):
            yield from _losses(pipeline, entry)
        yield from _origins(pipeline, entry)
        yield from _artefacts(pipeline, entry)
        yield from _teachers(pipeline, entry)
        yield from _stores(pipeline, entry)
        yield from _scopes(pipeline, entry)
        yield from _schedule(pipeline, entry)
        yield from _best_metric(pipeline, entry)
        yield from _gates(pipeline, entry)
    yield from _variants(pipeline)


def _choices(value: Any, path: Path) -> Iterator[Problem]:
    """Every choice in the Model Garden's way (`type: ...`) must be made, except in branches that are not chosen."""
    if isinstance(value, OneOf):
        chosen = value.type
        if chosen is None:
            yield path, f'type: missing; expected one of {known_names(set(type(value).model_fields) - {"type"})}'
        else:
            yield from _choices(value.chosen, (*path, chosen))
    elif isinstance(value, pydantic.BaseModel):
        for name in type(value).model_fields:
            yield from _choices(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _choices(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _choices(item, (*path, index))


def _runtime(pipeline: PipelineBase) -> Iterator[Problem]:
    spec, options = strategies.chosen(pipeline.runtime)
    if spec.refusal:
        working = known_names(other.name for other in strategies.kinds() if not other.refusal)
        yield ('runtime', 'strategy'), f"found '{spec.name}', which does not work yet: {spec.refusal}. Working here: {working}"
    for other in strategies.kinds():
        if other is not spec and getattr(pipeline.runtime, other.name, None) is not None:
            text = (
                f"options of '{other.name}' are given, but strategy is '{spec.name}': remove them or set strategy: {other.name}"
            )
            yield ('runtime', other.name), text
    if spec.rules:
        yield from specs.load_implementation(spec.rules)(pipeline, options)


def _data(pipeline: PipelineBase) -> Iterator[Problem]:
    classes = pipeline.data.classes
    for index, name in enumerate(classes):
        if not name.strip():
            yield ('data', 'classes', index), f"found '{name}'; expected the name of a class"
        elif name in classes[:index]:
            yield ('data', 'classes', index), f"class '{name}' is given twice; names must differ"
    for index, name in enumerate(pipeline.data.ignore_classes):
        if name in classes:
            yield ('data', 'ignore_classes', index), f"class '{name}' stands in data.classes too; expected it in one of them"
    for part in ('train', 'validation'):
        source = getattr(pipeline.data, part)
        if source.format not in specs.formats():
            known = specs.formats()
            text = f"found '{source.format}'. Known here: {known_names(known)}.{suggestion(source.format, known)}"
            yield ('data', part, 'format'), text
        elif source.masks and not specs.data_format(source.format).has_masks:
            able = known_names(name for name in specs.formats() if specs.data_format(name).has_masks)
            yield ('data', part, 'masks'), f"format '{source.format}' has no masks; remove it. Formats with masks: {able}."
        else:
            yield from _unread(part, source)
        if not source.path:
            yield ('data', part, 'path'), 'is empty; expected a path'


def _unread(part: str, source: DataSource) -> Iterator[Problem]:
    for option in ('images', 'class_file'):
        text = specs.unread(source.format, option) if getattr(source, option) else None
        if text is not None:
            yield ('data', part, option), f"found '{getattr(source, option)}', but {text}"


def _stage_models(pipeline: PipelineBase) -> Iterator[Problem]:
    for entry in all_stages(pipeline):
        name = entry.stage.model
        if name is not None and name not in pipeline.models:
            known = pipeline.models
            text = f"no model '{name}'. Known here, under `models`: {known_names(known)}.{suggestion(name, known)}"
            yield (*path_of(pipeline, entry), 'model'), text


def _models(pipeline: PipelineBase) -> Iterator[Problem]:
    places: list[tuple[Path, NetworkOptions]] = [(('model',), pipeline.model)]
    places += [(('models', name), model) for name, model in pipeline.models.items()]
    for path, model in places:
        for inside, text in model_rules.problems(model, len(pipeline.data.classes)):
            yield (*path, *inside), text


def _max_detections(pipeline: PipelineBase) -> Iterator[Problem]:
    found = {spec.name: spec for spec in map(specs.spec_of, (pipeline.model, *pipeline.models.values()))}
    fixed = [name for name, spec in found.items() if spec.detection_modules and not spec.max_detections_option]
    if pipeline.evaluation.max_detections is not None and fixed:
        text = f'{known_names(fixed)} does not tell which option limits its detections, so nothing would lift them; remove it'
        yield ('evaluation', 'max_detections'), text


def _sources(pipeline: PipelineBase) -> Iterator[Problem]:
    names = {entry.stage.name for entry in all_stages(pipeline)}
    for name, source in pipeline.sources.items():
        if name == FRESH:
            yield ('sources', name), f"'{FRESH}' is the initialiser; give the source another name"
        if name in names:
            yield ('sources', name), 'a stage has this name too; rename one of them'
        if not source.path:
            yield ('sources', name, source.kind), 'is empty; expected a path'
        for pattern, template in source.rules.items():
            try:
                re.compile(pattern).sub(template, '')
            except (re.error, IndexError) as error:
                text = f"'{pattern}' -> '{template}' is no regular expression with its template: {error}"
                yield ('sources', name, 'rules'), text


def _names(pipeline: PipelineBase) -> Iterator[Problem]:
    yield from _list_names(pipeline.stages, ('stages',))
    for name, variant in pipeline.compare.items():
        yield from _list_names(variant.stages or [], ('compare', name, 'stages'))


def _list_names(stages: list[Stage], path: Path) -> Iterator[Problem]:
    names = [stage.name for stage in stages]
    for index, name in enumerate(names):
        if name == FRESH:
            yield (*path, index, 'name'), f"'{FRESH}' is the initialiser; give the stage another name"
        if name in names[:index]:
            yield (
                (*path, index, 'name'),
                f"'{name}' is the name of {show_path((*path, names.index(name)))} too; names must differ",
            )


def _kind(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    """A stage has the keys of its kind, and what it is made of are earlier stages of the same network."""
    stage, path = entry.stage, path_of(pipeline, entry)
    spec = stage_kinds.stage_kind(stage.kind)
    known = {*stage_kinds.COMMON_KEYS, *stage_kinds.own_keys(spec)}
    foreign = {key for other in stage_kinds.kinds() for key in stage_kinds.own_keys(other)} - known
    for key in sorted(key for key in _given(stage) if (key in foreign if spec.trains else key not in known)):
        rest = '' if spec.trains else f'. Known here: {known_names(known)}'
        yield (*path, key), f'a stage of kind {spec.name} has no such key; remove it{rest}'
    names = stage_kinds.made_of(stage)
    for index, name in enumerate(names):
        yield from _made_of(pipeline, entry, name, lambda other: _foreign(pipeline, stage, other), 'it cannot be taken', path)
        if name in names[:index]:
            yield path, f"'{name}' is named twice; expected each stage once"
    if names and set(names) <= set(earlier_stages(pipeline, entry.id)) and not stage_modules(pipeline, stage):
        yield path, f'no module is held by all of {", ".join(names)}; expected stages that have some in common'


def _given(stage: Stage) -> set[str]:
    """Returns the keys that a stage has in its file: without what stands for the training of one that does not train."""
    filled = {'loss_weights': {}, 'train': Train.model_validate(stage_kinds.ONE_STEP)}
    stand_in = {key for key, value in filled.items() if getattr(stage, key) == value}
    return stage.model_fields_set - (set() if stage_kinds.trains(stage) else stand_in)


def _foreign(pipeline: PipelineBase, stage: Stage, other: Stage) -> list[str]:
    """Returns the modules of a stage's network that another stage cannot give, as it trains another network; else none."""
    return [] if other.model == stage.model else list(spec_of(pipeline, stage).modules)


def _losses(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    known = spec_of(pipeline, entry.stage).loss_modules
    for term in entry.stage.loss_weights:
        if term not in known and term in [spec.name for spec in losses.kinds()]:
            yield (
                (*path_of(pipeline, entry), 'loss_weights', term),
                f'has no settings; give them under losses.{term} of this stage',
            )
        elif term not in known:
            text = f'no loss of {spec_of(pipeline, entry.stage).name}. Known here: {known_names(known)}.{suggestion(term, known)}'
            yield (*path_of(pipeline, entry), 'loss_weights', term), text
    for term in entry.stage.loss_ramps:
        if term not in live_losses(entry.stage):
            live = known_names(live_losses(entry.stage))
            text = f'has no weight above 0 in loss_weights, so there is nothing to raise. With a weight here: {live}'
            yield (*path_of(pipeline, entry), 'loss_ramps', term), text
    masks = [term for term in live_losses(entry.stage) if term in spec_of(pipeline, entry.stage).mask_losses]
    if masks and not pipeline.data.train.masks:
        text = 'needs the masks of the objects; set data.train.masks: true (and data.validation.masks, to measure them)'
        yield (*path_of(pipeline, entry), 'loss_weights', masks[0]), text
    for term in (spec.name for spec in losses.kinds()):
        if getattr(getattr(entry.stage, 'losses', None), term, None) is not None and not entry.stage.loss_weights.get(term):
            yield (
                (*path_of(pipeline, entry), 'losses', term),
                f'has no weight above 0 in loss_weights; give {term} one, or remove it',
            )
    if not live_losses(entry.stage):
        text = f'no loss has a weight above 0, so nothing would be trained. Known here: {known_names(known)}.'
        yield (*path_of(pipeline, entry), 'loss_weights'), text


def _origins(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    spec = spec_of(pipeline, entry.stage)
    modules = spec.modules
    for module, init in entry.stage.init.items():
        path = (*path_of(pipeline, entry), 'init', module)
        if module not in modules:
            yield path, f'no module of {spec.name}. Known here: {known_names(modules)}.{suggestion(module, modules)}'
        else:
            yield from _origin(pipeline, entry, module, init, path)


def _origin(pipeline: PipelineBase, entry: StageEntry, module: str, init: Init, path: Path) -> Iterator[Problem]:
    earlier = earlier_stages(pipeline, entry.id)
    if init.classes is not None and init.origin not in pipeline.sources:
        yield (*path, 'classes'), 'goes with a source: all stages of a pipeline have the same classes; remove it'
    if init.origin in earlier:
        held = stage_modules(pipeline, earlier[init.origin].stage)
        if module not in held:
            yield path, f"stage '{init.origin}' holds no {module}, only {known_names(held)}; name one that does, or '{FRESH}'"
        return
    if init.origin in pipeline.sources:
        if init.classes is not None and module not in spec_of(pipeline, entry.stage).class_modules:
            yield (*path, 'classes'), f'{module} has no numbers of its own for each class; remove it'
        return
    if init.origin == FRESH:
        return
    known = [*earlier, *pipeline.sources, FRESH]
    yield path, f'{_not_earlier(pipeline, entry, init.origin)}. Known here: {known_names(known)}.{suggestion(init.origin, known)}'


def _not_earlier(pipeline: PipelineBase, entry: StageEntry, name: str) -> str:
    if name == entry.stage.name:
        return f"'{name}' is this stage itself"
    if any(other.stage.name == name and other.variant == entry.variant for other in all_stages(pipeline)):
        return f"stage '{name}' comes later; expected an earlier one"
    return f"found '{name}'; expected an earlier stage, a source or {FRESH}"


def _artefacts(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    for name, settings in artefacts.read_by(entry.stage).items():
        kind, path = artefacts.artefact(name), (*path_of(pipeline, entry), name)
        found = list(specs.load_implementation(kind.rules)(pipeline, entry, settings)) if kind.rules else []
        yield from (((*path, *inside), text) for inside, text in found)
        if kind.modules(spec_of(pipeline, entry.stage)) or not found:
            lacking = functools.partial(_lacking_modules, pipeline, entry.stage, kind.modules, kind.any_network)
            yield from _made_of(pipeline, entry, settings.origin, lacking, f'it has no {kind.name} to give', (*path, 'from'))


def _teachers(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    for term, origin in losses.teachers_of(entry.stage).items():
        lacking = functools.partial(_lacking_modules, pipeline, entry.stage, losses.loss(term).teacher_modules, True)
        path = (*path_of(pipeline, entry), 'losses', term, 'from')
        yield from _made_of(pipeline, entry, origin, lacking, f'it cannot be the teacher of {term}', path)


def _made_of(
    pipeline: PipelineBase, entry: StageEntry, origin: str, lacking: Callable[[Stage], list[str]], what: str, path: Path
) -> Iterator[Problem]:
    """A stage reads what an earlier stage makes: `lacking` tells which modules a stage lacks to make it."""
    earlier = earlier_stages(pipeline, entry.id)
    able = [name for name, other in earlier.items() if not lacking(other.stage)]
    if origin not in earlier:
        yield path, f'{_not_earlier(pipeline, entry, origin)}. Known here: {known_names(able)}.{suggestion(origin, able)}'
    elif origin not in able:
        text = f"stage '{origin}' holds no {', '.join(lacking(earlier[origin].stage))}, so {what}"
        yield path, f'{text}. Known here: {known_names(able)}.'


def _lacking_modules(
    pipeline: PipelineBase,
    reader: Stage,
    modules: Callable[[specs.DetectorSpec], tuple[str, ...]],
    any_network: bool,
    maker: Stage,
) -> list[str]:
    """Returns what a stage lacks of `modules`: all of them where it trains another network, unless any network will do."""
    needed = modules(spec_of(pipeline, maker if any_network else reader))
    held = stage_modules(pipeline, maker)
    lacking = [module for module in needed if module not in held]
    is_other = maker.model != reader.model and not any_network
    return list(needed) if is_other and not lacking else lacking


def _stores(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    spec, path, stage = spec_of(pipeline, entry.stage), path_of(pipeline, entry), entry.stage
    if spec.reads_images:
        return
    if stage.features.store in ('memory', 'disk') or stage.features.views is not None:
        yield (*path, 'features'), f'nothing of a network of type {spec.name} is stored; remove it'
    if stage.train.epochs is not None:
        yield (*path, 'train', 'epochs'), f'a stage of type {spec.name} has an input of its own; say how many steps'


def _scopes(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    held = stage_modules(pipeline, entry.stage)
    for field in ('freeze_variables', 'train_variables', 'allow_frozen_fresh'):
        for index, scope in enumerate(getattr(entry.stage, field) or ()):
            problem = _scope(scope, held)
            if problem:
                yield (*path_of(pipeline, entry), field, index), problem


def _scope(scope: str, held: tuple[str, ...]) -> str | None:
    try:
        re.compile(scope)
    except re.error as error:
        return f"'{scope}' is no regular expression: {error}"
    module, slash, _ = scope.partition('/')
    if not _WORD.match(module):
        return None
    if module not in held:
        return f"'{scope}': the stage holds no '{module}'. Known here: {known_names(held)}.{suggestion(module, held)}"
    if not slash:
        return f"'{scope}' matches no variable, for a scope must match a whole name. Did you mean '{module}/.*'?"
    return None


_REFUSED_SCHEDULES = {
    'step_cosine_with_offset': "the Model Garden's divides by zero from its last boundary on, where the rate is not a number; "
    'cosine falls once, and stepwise has a rate for each part'
}
"""Schedules of the Model Garden that no stage can use, with the reason."""


def _schedule(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    for field in ('learning_rate', 'warmup'):
        choice: OneOf | None = getattr(entry.stage.train, field)
        if choice is not None and choice.type in _REFUSED_SCHEDULES:
            known = known_names(name for name in type(choice).model_fields if name not in ('type', *_REFUSED_SCHEDULES))
            text = f"found '{choice.type}': {_REFUSED_SCHEDULES[choice.type]}. Known here: {known}."
            yield (*path_of(pipeline, entry), 'train', field, 'type'), text
        elif choice is not None and choice.type is not None:
            yield from _schedule_options(choice.chosen, (*path_of(pipeline, entry), 'train', field, choice.type))


def _schedule_options(options: pydantic.BaseModel, path: Path) -> Iterator[Problem]:
    missing = [
        name for name in type(options).model_fields if getattr(options, name) is None and name not in _OPTIONAL_IN_SCHEDULES
    ]
    for name in missing:
        yield (*path, name), 'missing, and has no default'
    boundaries = getattr(options, 'boundaries', None)
    values = getattr(options, 'values', None)
    if boundaries is None or values is None:
        return
    if len(values) != len(boundaries) + 1:
        yield (*path, 'values'), f'found {len(values)} values for {len(boundaries)} boundaries; expected {len(boundaries) + 1}'
    if boundaries != sorted(set(boundaries)) or any(boundary <= 0 for boundary in boundaries):
        yield (*path, 'boundaries'), f'found {boundaries}; expected steps above 0, each greater than the one before'


def _best_metric(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    if not spec_of(pipeline, entry.stage).reads_images:  # The names of its metrics are known once it has measured.
        return
    metric, known = entry.stage.train.best_metric, measured_metrics(pipeline, entry.stage)
    if entry.stage.train.validation_interval is None:  # Nothing is judged by it: it may be of another stage, in a common `train`.
        every = (name for other in all_stages(pipeline) for name in measured_metrics(pipeline, other.stage))
        known = tuple(dict.fromkeys((*known, *metric_names.COCO_METRICS, *every)))
    if metric_names.canonical(metric) not in known:
        text = f"found '{metric}', not measured in this stage. Known here: {known_names(known)}.{suggestion(metric, known)}"
        yield (*path_of(pipeline, entry), 'train', 'best_metric'), text


def _gates(pipeline: PipelineBase, entry: StageEntry) -> Iterator[Problem]:
    if not spec_of(pipeline, entry.stage).reads_images:  # The names of its metrics are known once it has measured.
        return
    for metric in entry.stage.require:
        measured = measured_metrics(pipeline, entry.stage)
        if metric_names.canonical(metric) not in measured:
            text = f'not measured in this stage. Known here: {known_names(measured)}.{suggestion(metric, measured)}'
            yield (*path_of(pipeline, entry), 'require', metric), text


def _variants(pipeline: PipelineBase) -> Iterator[Problem]:
    names = [stage.name for stage in pipeline.stages]
    for name, variant in pipeline.compare.items():
        if variant.until is not None and variant.until not in names:
            text = f"no stage '{variant.until}'. Known here: {known_names(names)}.{suggestion(variant.until, names)}"
            yield ('compare', name, 'until'), text
