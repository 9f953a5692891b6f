"""What the stages of a pipeline are: what each holds, which losses are live, what is measured of it, what it may start from.

    for stage_id, stage, variant in all_stages(pipeline):
        stage_modules(pipeline, stage), live_losses(stage)

Pure functions of a checked pipeline file, without TensorFlow; `check` has the rules that make a file correct.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

from stagetrain.config import losses, metric_names, specs, stage_kinds
from stagetrain.config.options import NetworkOptions
from stagetrain.config.schema import PipelineBase, Stage, Train


class StageEntry(NamedTuple):
    """A stage, what it is called in a run directory (its name, or `<variant>.<name>`), and the variant that it belongs to."""

    id: str
    stage: Stage
    variant: str | None


def live_losses(stage: Stage) -> dict[str, float]:
    """Returns loss term -> weight of the terms that are built: those with a weight above 0."""
    return {term: weight for term, weight in stage.loss_weights.items() if weight > 0}


def own_terms(stage: Stage) -> list[str]:
    """Returns the live loss terms that are the network's own, sorted; others the stage adds (`losses`)."""
    return sorted(set(live_losses(stage)) - set(losses.added_by(stage)))


def model_of(pipeline: PipelineBase, stage: Stage) -> NetworkOptions:
    """Returns the options of the network that a stage trains: of the one that it names, or the pipeline's."""
    return pipeline.model if stage.model is None else pipeline.models[stage.model]


def spec_of(pipeline: PipelineBase, stage: Stage) -> specs.DetectorSpec:
    """Returns the spec of the network that a stage trains, with the losses that the stage adds."""
    spec = specs.spec_of(model_of(pipeline, stage))
    added = {term: losses.loss(term).modules(spec) for term in losses.added_by(stage)}
    return dataclasses.replace(spec, loss_modules={**spec.loss_modules, **added}) if added else spec


def seed_of(pipeline: PipelineBase, stage: Stage) -> int:
    """Returns the seed of a stage: its own, or the pipeline's."""
    return pipeline.seed if stage.seed is None else stage.seed


def model_as_built(pipeline: PipelineBase, stage: Stage) -> NetworkOptions:
    """Returns the options that the network of a stage is built from: it detects as much as `evaluation` asks for."""
    model, most = model_of(pipeline, stage), pipeline.evaluation.max_detections
    limit = detection_limit(model)
    if most is None or limit is None or most <= limit:
        return model
    return _with_option(model, specs.spec_of(model).max_detections_option, most)


def detection_limit(model: Any) -> int | None:
    """Returns how many detections of an image a network makes by its own options; None where no option says."""
    value = model if specs.spec_of(model).max_detections_option else None
    for key in specs.spec_of(model).max_detections_option:
        value = getattr(value, key)
    return value


def _with_option(model: Any, path: tuple[str, ...], value: Any) -> Any:
    first, *rest = path
    return model.model_copy(update={first: _with_option(getattr(model, first), tuple(rest), value) if rest else value})


def stage_modules(pipeline: PipelineBase, stage: Stage) -> tuple[str, ...]:
    """Returns the modules that a stage holds, and leaves in its checkpoint, in network order.

    These are the modules that its live losses need, and those named in `init`. A loss that works on proposals needs the modules
    that make them too, unless the stage reads stored ones. A stage that is made of others holds what all of these hold.
    """
    spec, names = spec_of(pipeline, stage), stage_kinds.made_of(stage)
    if names:
        held = [stage_modules(pipeline, entry.stage) for entry in all_stages(pipeline) if entry.stage.name in names]
        return tuple(module for module in spec.modules if all(module in modules for modules in held))
    return tuple(module for module in spec.modules if module in {*active_modules(pipeline, stage), *stage.init})


def reached_modules(pipeline: PipelineBase, stage: Stage) -> tuple[str, ...]:
    """Returns the modules that a stage's live losses reach, in network order; others that it holds are idle."""
    spec = spec_of(pipeline, stage)
    reached = {module for term in live_losses(stage) for module in spec.loss_modules.get(term, ())}
    return tuple(module for module in spec.modules if module in reached)


def active_modules(pipeline: PipelineBase, stage: Stage) -> tuple[str, ...]:
    """Returns the modules in the graph of a stage's live losses, in network order: those reached, and those that propose."""
    spec, needed = spec_of(pipeline, stage), {*reached_modules(pipeline, stage)}
    if stage.proposals is None and set(live_losses(stage)) & set(spec.proposal_losses):
        needed.update(spec.proposal_modules)
    return tuple(module for module in spec.modules if module in needed)


def lacking_for_detections(spec: specs.DetectorSpec, modules: Collection[str], has_proposals: bool) -> tuple[str, ...]:
    """Returns the modules that are needed beside `modules` to detect, on stored proposals when `has_proposals`."""
    needed = {*spec.detection_modules, *(() if has_proposals else spec.proposal_modules)}
    return tuple(module for module in spec.modules if module in needed - set(modules))


def can_propose(spec: specs.DetectorSpec, modules: Collection[str]) -> bool:
    """Returns whether `modules` give proposals."""
    return bool(spec.proposal_modules) and set(spec.proposal_modules) <= set(modules)


def gives_masks(spec: specs.DetectorSpec, modules: Collection[str]) -> bool:
    """Returns whether detections made with `modules` have masks."""
    return any(set(spec.loss_modules[term]) <= set(modules) for term in spec.mask_losses)


class MeasuredKinds(NamedTuple):
    """What kinds of metrics are measured of a stage."""

    detections: bool
    masks: bool
    """Of the detections too."""
    proposal_counts: tuple[int, ...]
    """Numbers of proposals at which recall is measured; none where the stage gives no proposals."""


def measured(pipeline: PipelineBase, stage: Stage) -> MeasuredKinds:
    """Returns what is measured of a stage with the modules that it holds."""
    held, spec = stage_modules(pipeline, stage), spec_of(pipeline, stage)
    lacking = lacking_for_detections(spec, held, has_proposals=stage.proposals is not None)
    has_detections = bool(spec.detection_modules) and not lacking
    counts = tuple(pipeline.evaluation.num_proposals) if can_propose(spec, held) else ()
    return MeasuredKinds(has_detections, has_detections and pipeline.data.validation.masks and gives_masks(spec, held), counts)


def measured_metrics(pipeline: PipelineBase, stage: Stage) -> tuple[str, ...]:
    """Returns the names of what is measured of a stage: see `evaluation.json`."""
    found, data = measured(pipeline, stage), pipeline.data
    names: tuple[str, ...] = ()
    if found.detections:
        names += metric_names.of_detections(data.classes, pipeline.evaluation.voc_ap, pipeline.evaluation.max_detections)
    if found.masks:
        names += metric_names.of_masks(data.classes, pipeline.evaluation.max_detections)
    return names + (metric_names.of_proposals(found.proposal_counts) if found.proposal_counts else ())


def judged_by_best_metric(train: Train) -> tuple[str, ...]:
    """Returns the keys of `train` that decide by `best_metric`, as they are asked for."""
    asked = {
        'hand_over: best': train.hand_over == 'best',
        'early_stopping': train.early_stopping is not None,
        'reduce_on_plateau': train.reduce_on_plateau is not None,
    }
    return tuple(key for key, is_asked in asked.items() if is_asked)


def all_stages(pipeline: PipelineBase) -> list[StageEntry]:
    """Returns the pipeline's stages and then those of its variants, each in its order."""
    entries = [StageEntry(stage.name, stage, None) for stage in pipeline.stages]
    for name, variant in pipeline.compare.items():
        entries.extend(StageEntry(f'{name}.{stage.name}', stage, name) for stage in variant.stages or ())
    return entries


def trained_stages(pipeline: PipelineBase) -> list[StageEntry]:
    """Returns those of `all_stages` that train; others take no steps."""
    return [entry for entry in all_stages(pipeline) if stage_kinds.trains(entry.stage)]


def path_of(pipeline: PipelineBase, entry: StageEntry) -> tuple[str | int, ...]:
    """Returns where a stage stands in its pipeline: `('stages', 2)`."""
    if entry.variant is None:
        return 'stages', pipeline.stages.index(entry.stage)
    return 'compare', entry.variant, 'stages', (pipeline.compare[entry.variant].stages or []).index(entry.stage)


def earlier_stages(pipeline: PipelineBase, stage_id: str) -> dict[str, StageEntry]:
    """Returns the stages that a stage may start from, by the name it calls them.

    A stage of the pipeline may name those before it; a stage of a variant those before it in the variant and all of the
    pipeline's, the variant's own first.

    Raises:
      KeyError: The pipeline has no stage of that id.
    """
    entries = all_stages(pipeline)
    ids = [entry.id for entry in entries]
    if stage_id not in ids:
        raise KeyError(stage_id)
    index = ids.index(stage_id)
    variant = entries[index].variant
    before = {entry.stage.name: entry for entry in entries[:index] if entry.variant == variant}
    if variant is None:
        return before
    return {**{entry.stage.name: entry for entry in entries if entry.variant is None}, **before}
