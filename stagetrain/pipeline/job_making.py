"""Makes the jobs of a plan: what each child is told. Reads the lock of the run directory, and writes nothing.

job = stage_job(plan, stage, directory)
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from stagetrain import flags
from stagetrain.config import artefacts, losses
from stagetrain.config.stages import spec_of
from stagetrain.pipeline import class_lists, other_runs
from stagetrain.pipeline.graph import StageNode
from stagetrain.pipeline.jobs import FRESH, ArtefactJob, CheckJob, ModuleOrigin, StageJob
from stagetrain.pipeline.planned import ArtefactPlan, Plan, StagePlan
from stagetrain.pipeline.rundir import RunDirectory


def check_job(plan: Plan, directory: RunDirectory) -> CheckJob:
    """Returns the job that holds all stages, and all sources, against the names of the model's variables."""
    sources = {name: source_origin(plan, name) for name in plan.loaded.pipeline.sources}
    return CheckJob(str(directory.path.absolute()), plan.loaded.resolved, sources, flags=flags.given())


def stage_job(plan: Plan, stage: StagePlan, directory: RunDirectory, folder: pathlib.Path) -> StageJob:
    """Returns the job that carries a stage out in a folder; all that it reads must be there."""
    assert stage.fingerprint is not None
    return StageJob(
        run_dir=str(directory.path.absolute()),
        pipeline=plan.loaded.resolved,
        flags=flags.given(),
        id=stage.id,
        stage=_resolved(plan, stage.node),
        fingerprint=stage.fingerprint,
        parts=dict(stage.parts),
        origins={module: _origin(plan, stage, module, directory) for module in stage.node.origins},
        num_steps=stage.num_steps,
        folder=str(folder.absolute()),
        mixed_versions=stage.mixed_versions,
        extended=stage.extended,
        artefacts={artefact.kind: _folder(directory, artefact) for artefact in stage.artefacts},
        teachers={term: _teacher(plan, directory, term, stage_id) for term, stage_id in stage.node.teachers.items()},
        made_of={stage_id: _of_stage(directory, stage_id, stage.node.modules) for stage_id in stage.node.made_of},
    )


def artefact_job(plan: Plan, stage: StagePlan, artefact: ArtefactPlan, directory: RunDirectory) -> ArtefactJob:
    """Returns the job that makes what a stage reads, with the modules of the stage that it is made of."""
    assert artefact.fingerprint is not None
    maker = plan.graph.nodes[artefact.from_stage]
    modules = artefacts.artefact(artefact.kind).modules(spec_of(plan.loaded.pipeline, maker.stage))
    return ArtefactJob(
        run_dir=str(directory.path.absolute()),
        pipeline=plan.loaded.resolved,
        flags=flags.given(),
        id=stage.id,
        stage=_resolved(plan, stage.node),
        fingerprint=artefact.fingerprint,
        parts=dict(artefact.parts),
        origins=_of_stage(directory, maker.id, modules),
        artefact=artefact.kind,
        maker=_resolved(plan, maker),
        folder=_folder(directory, artefact),
    )


def _teacher(plan: Plan, directory: RunDirectory, term: str, stage_id: str) -> dict[str, ModuleOrigin]:
    teacher = plan.graph.nodes[stage_id]
    return _of_stage(directory, stage_id, losses.loss(term).teacher_modules(spec_of(plan.loaded.pipeline, teacher.stage)))


def _of_stage(directory: RunDirectory, stage_id: str, modules: Iterable[str]) -> dict[str, ModuleOrigin]:
    """Returns the origins of modules that are read as a finished stage hands them over."""
    made = directory.lock().stages[stage_id].result
    path = str(directory.checkpoint(made).absolute())
    return {module: ModuleOrigin('stage', path, stage_id, made['digests'][module]) for module in modules}


def _folder(directory: RunDirectory, artefact: ArtefactPlan) -> str:
    return str((directory.store(artefact.kind) / str(artefact.fingerprint)).absolute())


def _resolved(plan: Plan, node: StageNode) -> Mapping[str, Any]:
    resolved = plan.loaded.resolved
    stages = resolved['stages'] if node.variant is None else resolved['compare'][node.variant]['stages']
    return next(value for value in stages if value['name'] == node.stage.name)


def _origin(plan: Plan, stage: StagePlan, module: str, directory: RunDirectory) -> ModuleOrigin:
    origin = stage.node.origins[module]
    if origin.kind == 'fresh':
        return FRESH
    if origin.kind == 'stage':
        made = directory.lock().stages[origin.name].result
        path = str(directory.checkpoint(made).absolute())
        return ModuleOrigin('stage', path, origin.name, made['digests'][module], origin.skip_mismatch)
    order = {}
    if origin.by_class_name:
        found, wanted = plan.facts.source_classes[origin.name], plan.loaded.pipeline.data.classes
        order = class_lists.taking(spec_of(plan.loaded.pipeline, stage.node.stage), module, found, wanted)
    return dataclasses.replace(source_origin(plan, origin.name), skip_mismatch=origin.skip_mismatch, class_order=order)


def source_origin(plan: Plan, name: str) -> ModuleOrigin:
    """Returns where the weights of a source are read from."""
    source, digest = plan.loaded.pipeline.sources[name], plan.facts.sources[name]
    if source.run is None:
        return ModuleOrigin(source.kind, source.path, None, digest, **source.reading)
    other = other_runs.finished_stage(name, source)
    return ModuleOrigin('run', str(other.checkpoint), other.stage, digest, **source.reading)
