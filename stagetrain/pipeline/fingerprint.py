"""Fingerprints: a hash over all that decides a stage's result, and the parts it was taken of.

    fingerprint, parts = stage_fingerprint(pipeline, stage, inputs)
    differences(old_parts, parts)          # ['init.backbone changed (51ac... -> 9be0...)', 'train.steps: 600 -> 50']

Names of files and folders do not count; the stage's own does, for its random numbers depend on it. Settings that
are marked as `Cosmetic` in the schema do not count either.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import pathlib
import time
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pydantic

from stagetrain import files
from stagetrain.config import artefacts, losses, onednn, options, schema, stage_kinds, strategies, versions
from stagetrain.config.builtin import experiment
from stagetrain.config.stages import all_stages, live_losses, model_of
from stagetrain.errors import DataError, StagetrainError, WeightsError
from stagetrain.pipeline import other_runs, source_files
from stagetrain.pipeline.data_items import Items

NUMERICS_VERSION = 1
"""Counted up with every change of stagetrain that changes the numbers of a stage; every stage is stale then."""
DATA_SETS = {'data.train': 'training data', 'data.validation': 'validation data'}
"""Parts that are digests of data sets, and what a person calls them."""
RACY_NS = 2_000_000_000
"""A file as young as this can change again within the same tick of a coarse clock: its digest is not cached."""
_MISSING = '(none)'
_VERSION = 'versions.'
_WEIGHTS = 'weights'
_LATER_VERSIONS = (f'{_VERSION}{versions.ONEDNN}',)
"""Those that older run directories lack."""


@dataclasses.dataclass(frozen=True)
class OriginDigest:
    """Where a module starts from, by content; `digest` is None for the initialiser."""

    digest: str | None
    skip_mismatch: bool = False
    classes: tuple[str, ...] | None = None
    """The class list of the source, where classes are taken by their names."""


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the world around a pipeline file holds; gathered once, so that planning itself reads nothing."""

    train_digest: str
    validation_digest: str
    num_train: int
    num_validation: int
    num_bad_train: int
    num_bad_validation: int
    sources: Mapping[str, str]
    """Name of a source -> digest of its file."""
    versions: Mapping[str, str]
    """As `config.versions.package_versions` gives them."""
    unrecorded: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Value of those that an older stagetrain did not record; the present one counts where it is not here."""
    inputs: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Pattern of files that a network reads by itself -> digest of what it matches."""
    items: Mapping[str, Items] = dataclasses.field(default_factory=dict)
    """Digest of a data set -> its items."""
    unmeasured: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Group of `metric_names.group` of which the validation set has no object that counts -> why."""
    source_classes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """Name of a source -> the class list of its weights, where there is one."""
    train_objects: Sequence[int] = ()
    """Objects that training sees, of each image."""
    validation_objects: Sequence[int] = ()
    """Objects to be found in each validation image: all but crowds."""
    left_out: Sequence[str] = ()
    """What is left out of the data sets by `on_bad: skip`, counted by kind with the first of each: a text for each."""


def stage_fingerprint(
    pipeline: schema.PipelineBase,
    stage: schema.Stage,
    facts: Facts,
    *,
    origins: Mapping[str, OriginDigest],
    made_of: Mapping[str, Mapping[str, OriginDigest]],
    teachers: Mapping[str, Mapping[str, OriginDigest]],
    results: Sequence[Mapping[str, OriginDigest]] = (),
) -> tuple[str, dict[str, Any]]:
    """Returns the fingerprint of a stage and its parts.

    Args:
      pipeline: the whole pipeline; of it count the model, the class list, the seed and the runtime.
      stage: the stage.
      facts: digests of data and versions of packages.
      origins: where each module of the stage starts from.
      made_of: kind of artefact that it reads -> the weights of the modules that make it; empty while these are not known.
      teachers: loss term -> the weights of the modules of the network that it compares with; likewise.
      results: the weights of the stages that it is made of, where it does not train; likewise.
    """
    parts = _common_parts(pipeline, stage, facts)
    if stage.kind != stage_kinds.TRAIN:
        parts |= _kind_parts(stage, results)
    if not stage_kinds.trains(stage):
        del parts['data.train']
        return files.digest_of(parts), parts
    parts |= dict(flatten('train', stage.train))
    parts |= {f'loss_weights.{name}': weight for name, weight in live_losses(stage).items()}
    parts |= dict(flatten('loss_ramps', stage.loss_ramps))
    for scopes in ('freeze_variables', 'train_variables', 'allow_frozen_fresh'):
        parts[scopes] = getattr(stage, scopes)
    if stage.freeze_up_to is not None:
        parts['freeze_up_to'] = stage.freeze_up_to
    parts['seed'] = pipeline.seed if stage.seed is None else stage.seed
    parts['name'] = stage.name
    parts |= dict(flatten('features', stage.features))
    parts['data.train.include_difficult'] = pipeline.data.train.include_difficult
    if stage.train.validation_interval is not None:  # Then the validation set decides which checkpoint is the best.
        parts |= evaluation_parts(pipeline, facts)
    parts |= _origin_parts('init', origins)
    for kind, settings in artefacts.read_by(stage).items():
        parts |= _artefact_parts(artefacts.artefact(kind), settings, facts, made_of.get(kind, {}))
    for term, settings in losses.added_by(stage).items():
        parts |= {key: value for key, value in flatten(f'losses.{term}', settings) if key != f'losses.{term}.origin'}
        parts |= _origin_parts(f'losses.{term}.{_WEIGHTS}', teachers.get(term, {}))
    return files.digest_of(parts), parts


def _kind_parts(stage: schema.Stage, results: Sequence[Mapping[str, OriginDigest]]) -> dict[str, Any]:
    """Returns what a stage of another kind than `train` depends on; the names of other stages do not count, their weights do."""
    names = list(stage_kinds.made_of(stage))
    own = dict(flatten(stage.kind, stage_kinds.settings_of(stage)))
    parts = {'kind': stage.kind, 'name': stage.name} | {key: value for key, value in own.items() if value != names}
    for number, weights in enumerate(results):
        parts |= _origin_parts(f'{stage.kind}[{number}].{_WEIGHTS}', weights)
    return parts


def artefact_fingerprint(
    pipeline: schema.PipelineBase,
    kind: artefacts.ArtefactSpec,
    maker: schema.Stage,
    settings: Any,
    facts: Facts,
    *,
    weights: Mapping[str, OriginDigest],
) -> tuple[str, dict[str, Any]]:
    """Returns the fingerprint of an artefact and its parts.

    Args:
      pipeline: the whole pipeline.
      kind: the artefact's kind.
      maker: the stage whose result makes it; its network counts.
      settings: what the stage that reads it says of it.
      facts: digests of data and versions of packages.
      weights: those of the modules that make it.
    """
    parts = _common_parts(pipeline, maker, facts)
    if 'train' not in kind.reads_data:
        del parts['data.train']
    if 'validation' in kind.reads_data:
        parts |= evaluation_parts(pipeline, facts)
    parts |= _artefact_parts(kind, settings, facts, weights)
    return files.digest_of(parts), parts


def evaluation_parts(pipeline: schema.PipelineBase, facts: Facts) -> dict[str, Any]:
    """Returns what a stage's metrics depend on besides the stage itself."""
    parts = {
        'data.validation': facts.validation_digest,
        'data.validation.include_difficult': pipeline.data.validation.include_difficult,
    }
    # What is not asked for is left out: a run of before there was the option stays up to date.
    return parts | {key: value for key, value in flatten('evaluation', pipeline.evaluation) if value is not None}


def flatten(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yields a config as dotted key -> plain value: defaults filled in, cosmetic keys and branches not chosen left out."""
    if isinstance(value, pydantic.BaseModel):
        for name in _counting_fields(value):
            yield from flatten(f'{prefix}.{name}', getattr(value, name))
    elif isinstance(value, Mapping):
        for key in value:
            yield from flatten(f'{prefix}.{key}', value[key])
    elif isinstance(value, list | tuple) and any(isinstance(item, pydantic.BaseModel) for item in value):
        for number, item in enumerate(value):
            yield from flatten(f'{prefix}[{number}]', item)
    else:
        yield prefix, list(value) if isinstance(value, tuple) else value


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Returns the names of the parts that differ, sorted."""
    return sorted(name for name in {*old, *new} if old.get(name, _MISSING) != new.get(name, _MISSING))


def differences(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    labels: Mapping[str, str] = types.MappingProxyType({}),
    details: Mapping[str, str] = types.MappingProxyType({}),
) -> list[str]:
    """Returns what differs between two sets of parts, in words, by name.

    Args:
      old: the former parts.
      new: the present ones.
      labels: part -> its name in words.
      details: part -> what more is known of its change.
    """
    return [
        _difference(labels.get(name, name), old.get(name, _MISSING), new.get(name, _MISSING))
        + (f': {details[name]}' if name in details else '')
        for name in differing(old, new)
    ]


def is_origin(part: str) -> bool:
    """Returns whether a part of a fingerprint tells of weights that come from elsewhere: `init.*` and `*.weights.*`."""
    first, *inner = part.split('.')
    return first == 'init' or _WEIGHTS in inner[:-1]


def is_version(part: str) -> bool:
    """Returns whether a part of a fingerprint is a package's version: what may change in a half-done stage."""
    return part.startswith(_VERSION)


def versions_in(parts: Mapping[str, Any]) -> dict[str, str]:
    """Returns the versions among the parts: `{'tensorflow': '2.20.0', ...}`."""
    return {part.removeprefix(_VERSION): value for part, value in parts.items() if is_version(part)}


def versions_changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Returns which packages' versions differ between two sets of parts, in words: `tensorflow 2.19.0 -> 2.20.0`."""
    changed = [part for part in differing(old, new) if is_version(part)]
    return ', '.join(f'{part.removeprefix(_VERSION)} {old.get(part, _MISSING)} -> {new.get(part, _MISSING)}' for part in changed)


def as_recorded_now(parts: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Returns parts that an older stagetrain may have recorded, with what it left out (see `config.versions.unrecorded`)."""
    if not any(map(is_version, parts)):
        return dict(parts)
    now = {f'{_VERSION}{name}': facts.unrecorded.get(name, value) for name, value in facts.versions.items()}
    return {**{name: now[name] for name in _LATER_VERSIONS if name in now}, **parts}


def as_recorded_before(parts: Mapping[str, Any], facts: Facts) -> dict[str, Any] | None:
    """Returns parts as an older stagetrain recorded them; None when it would have computed with other values."""
    older = {name: value for name, value in parts.items() if name not in _LATER_VERSIONS}
    return older if as_recorded_now(older, facts) == parts else None


def explained(parts: Mapping[str, Any], facts: Facts) -> dict[str, str]:
    """Returns part -> where its value comes from, for those that an older stagetrain did not record."""
    former = {name: value for name, value in as_recorded_now(parts, facts).items() if name not in parts}
    return {
        name: f'not recorded then; {value} is what TensorFlow chooses by itself on this processor, and '
        f'{onednn.VARIABLE}={int(value == onednn.ON)} in the environment keeps it'
        for name, value in former.items()
    }


def mixed(changes: Sequence[str]) -> str:
    """Returns what is said of a stage in whose training versions changed; empty when none did."""
    return f'trained with mixed versions: {"; ".join(changes)}' if changes else ''


def source_digests(pipeline: schema.PipelineBase, cache_file: pathlib.Path | None) -> dict[str, str]:
    """Returns the digest of every source's file, cached by size, time and inode.

    Raises:
      WeightsError: sources are not there, or are certainly no weights of their kind; all of them are named.
    """
    faults = [fault for name, source in pipeline.sources.items() for fault in _source_fault(name, source)]
    if faults:
        raise WeightsError('\n'.join(faults))
    cache = _read_cache(cache_file)
    known = dict(cache)
    digests = {name: _source_digest(name, source, known) for name, source in pipeline.sources.items()}
    if cache_file is not None and known != cache:
        with contextlib.suppress(OSError):  # Without a cache files are read again; a disk that is full shows where it matters.
            cache_file.parent.mkdir(parents=True, exist_ok=True)
            files.write_sealed_json(cache_file, known)
    return digests


def input_digests(pipeline: schema.PipelineBase) -> dict[str, str]:
    """Returns pattern -> digest of the files that match, for all networks and artefacts that read files of their own.

    Raises:
      DataError: a pattern matches nothing.
    """
    models = [model for model in (pipeline.model, *pipeline.models.values()) if isinstance(model, experiment.Experiment)]
    patterns = {pattern for model in models for pattern in experiment.input_patterns(model)}
    for entry in all_stages(pipeline):
        for kind, settings in artefacts.read_by(entry.stage).items():
            patterns.update(artefacts.artefact(kind).inputs(settings))
    return {pattern: _matching_digest(pattern) for pattern in sorted(patterns)}


def _matching_digest(pattern: str) -> str:
    found = sorted(glob.glob(pattern))
    folder = pathlib.Path(pattern).parent
    if not found and folder.is_dir() and set('*?[') & set(str(folder)):
        raise DataError(
            f"{pattern}: its folder is there, but the Model Garden takes * ? [ in an `input_path` for a pattern's. Rename the "
            'folder, or name it by a link without these letters'
        )
    if not found:
        raise DataError(
            f"{pattern}: no file matches; expected the files that a `models` entry's input_path or a stage's artefact names"
        )
    return files.digest_of([files.sha256_file(pathlib.Path(path)) for path in found])


def _common_parts(pipeline: schema.PipelineBase, stage: schema.Stage, facts: Facts) -> dict[str, Any]:
    model = model_of(pipeline, stage)
    parts = dict(flatten('model', model)) | _runtime_parts(pipeline.runtime)
    parts |= {'data.train': facts.train_digest, 'data.classes': list(pipeline.data.classes), 'numerics': NUMERICS_VERSION}
    if isinstance(model, experiment.Experiment):
        parts |= {f'model.input.{pattern}': facts.inputs[pattern] for pattern in experiment.input_patterns(model)}
    return parts | {f'{_VERSION}{package}': version for package, version in facts.versions.items()}


def _runtime_parts(runtime: schema.Runtime) -> dict[str, Any]:
    """Returns the settings of the machine that bits depend on: of strategies the chosen one, with its defaults filled in."""
    spec, settings = strategies.chosen(runtime)
    names = {f'runtime.{other.name}' for other in strategies.kinds()}
    parts = {key: value for key, value in flatten('runtime', runtime) if '.'.join(key.split('.')[:2]) not in names}
    return parts | dict(flatten(f'runtime.{spec.name}', settings))


def _origin_parts(prefix: str, origins: Mapping[str, OriginDigest]) -> dict[str, Any]:
    parts: dict[str, Any] = {f'{prefix}.{module}': origin.digest or schema.FRESH for module, origin in origins.items()}
    parts |= {f'{prefix}.{module}.skip_mismatch': True for module, origin in origins.items() if origin.skip_mismatch}
    return parts | {f'{prefix}.{module}.classes': list(origin.classes) for module, origin in origins.items() if origin.classes}


def _artefact_parts(
    kind: artefacts.ArtefactSpec, settings: Any, facts: Facts, weights: Mapping[str, OriginDigest]
) -> dict[str, Any]:
    left_out = {f'{kind.name}.{name}' for name in ('origin', *kind.paths)}
    parts = {key: value for key, value in flatten(kind.name, settings) if key not in left_out}
    parts |= {f'{kind.name}.input[{number}]': facts.inputs[pattern] for number, pattern in enumerate(kind.inputs(settings))}
    return parts | _origin_parts(f'{kind.name}.{_WEIGHTS}', weights)


def _counting_fields(value: pydantic.BaseModel) -> list[str]:
    fields = type(value).model_fields
    names = [name for name, field in fields.items() if not options.is_cosmetic(field)]
    if isinstance(value, options.OneOf):
        chosen = value.type
        names = [name for name in names if name in ('type', chosen)]
    return names


def _difference(name: str, old: Any, new: Any) -> str:
    if _is_digest(old) and _is_digest(new):
        return f'{name} changed ({old[:8]} -> {new[:8]})'
    return f'{name}: {_shown(old)} -> {_shown(new)}'


def _shown(value: Any) -> str:
    return value[:8] if _is_digest(value) else str(value)


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set('0123456789abcdef')


def _source_fault(name: str, source: schema.Source) -> Iterator[str]:
    if source.run is None:
        found = source_files.fault(source.kind, pathlib.Path(source.path))
        if found is not None:
            yield f'sources.{name}: {found}'
        return
    try:
        other_runs.finished_stage(name, source)
    except StagetrainError as error:
        yield str(error)


def _source_digest(name: str, source: schema.Source, cache: dict[str, Any]) -> str:
    if source.run is not None:
        return files.digest_of(other_runs.finished_stage(name, source).digests)
    digests = [_cached_digest(path, cache) for path in source_files.files_of(pathlib.Path(source.path))]
    digest = digests[0] if len(digests) == 1 else files.digest_of(digests)
    # The order of rules counts, for the first that matches decides.
    return files.digest_of([digest, list(source.rules.items())]) if source.rules else digest


def _cached_digest(path: pathlib.Path, cache: dict[str, Any]) -> str:
    found = path.stat()
    stat = [found.st_size, found.st_mtime_ns, found.st_ino]
    entry = cache.get(str(path))
    if isinstance(entry, dict) and entry.get('stat') == stat:
        return str(entry['sha256'])
    digest = files.sha256_file(path)
    if found.st_mtime_ns < time.time_ns() - RACY_NS:
        cache[str(path)] = {'stat': stat, 'sha256': digest}
    return digest


def _read_cache(path: pathlib.Path | None) -> dict[str, Any]:
    """A cache that cannot be read is made again: nothing is lost with it."""
    try:
        value = files.read_sealed_json(path) if path is not None else {}
    except (OSError, files.DamagedFile):
        return {}
    return value if isinstance(value, dict) else {}
