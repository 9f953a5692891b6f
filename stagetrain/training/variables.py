"""Looks at a pipeline's real model without training it: the check before the first step, and the table of all variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from stagetrain.config import load, schema, stage_kinds
from stagetrain.config.stages import all_stages, earlier_stages, spec_of
from stagetrain.detectors.detector import Network
from stagetrain.devices import setup
from stagetrain.errors import ConfigError, WeightsError
from stagetrain.pipeline.answers import Emit, ShouldStop
from stagetrain.pipeline.jobs import CheckJob, ModuleOrigin
from stagetrain.stages.network import build_network, origin_of, roles_of
from stagetrain.stages.roles import reached_variables
from stagetrain.weights import assign, names


def check_model(job: CheckJob, emit: Emit, should_stop: ShouldStop) -> dict[str, int]:
    """Applies every stage's scopes to the model's real names, so that a slip in the last stage does not show after three days.

    Names and shapes in every source are held against those of the modules that start from it.

    Args:
      job: the pipeline, and where its sources are read from.
      emit: not told anything.
      should_stop: not asked.

    Raises:
      ConfigError: with every stage's fault.
    """
    del emit, should_stop
    pipeline = load.load_resolved(job.pipeline).pipeline
    # Before the first op: in one process with the stages, pools cannot be set later.
    with setup.configure(pipeline.runtime).scope():
        detectors = _whole(pipeline)
    faults = []
    for stage_id, stage, _ in all_stages(pipeline):
        try:
            roles_of(pipeline, stage, stage_id, detectors[stage.model])
        except ConfigError as error:
            faults.append(str(error))
    faults += [*_faults_of_sources(pipeline, detectors, job.sources), *_faults_between_networks(pipeline, detectors)]
    if faults:
        raise ConfigError('\n'.join(faults))
    num_variables = sum(len(names.named_variables(detector.modules)) for detector in detectors.values())
    return {'num_stages': len(list(all_stages(pipeline))), 'num_variables': num_variables}


def _faults_of_sources(
    pipeline: Any, detectors: Mapping[str | None, Network], sources: Mapping[str, ModuleOrigin]
) -> Iterator[str]:
    """Yields what of the modules that start from weight files, or other runs, cannot be loaded; each file is read once."""
    users: dict[str, dict[tuple[str | None, str, bool], str]] = {}
    for stage_id, stage, _ in all_stages(pipeline):
        for module, init in stage.init.items():
            if init.origin in sources:
                users.setdefault(init.origin, {}).setdefault((stage.model, module, init.skip_mismatch), stage_id)
    for name, modules in users.items():
        try:
            arrays = assign.read_origin(sources[name])
        except WeightsError as error:
            yield f'sources.{name}: {error}'
            continue
        for (model, module, skip), stage_id in modules.items():
            origin = dataclasses.replace(sources[name], skip_mismatch=skip)
            yield from _fault(f'stages.{stage_id}.init', module, detectors[model].modules[module], origin, arrays)


def _faults_between_networks(pipeline: Any, detectors: Mapping[str | None, Network]) -> Iterator[str]:
    """Yields what of the modules that start from a stage of another network is not in that one, or has another shape."""
    for stage_id, stage, _ in all_stages(pipeline):
        earlier = earlier_stages(pipeline, stage_id)
        for module, init in stage.init.items():
            model = earlier[init.origin].stage.model if init.origin in earlier else stage.model
            if model != stage.model:
                origin = ModuleOrigin('stage', f'stage {init.origin}', skip_mismatch=init.skip_mismatch)
                held = names.named_variables({module: detectors[model].modules[module]})
                yield from _fault(f'stages.{stage_id}.init', module, detectors[stage.model].modules[module], origin, held)


def _fault(place: str, module: str, root: object, origin: ModuleOrigin, arrays: Mapping[str, Any]) -> Iterator[str]:
    try:
        assign.matched(module, root, origin, arrays)
    except WeightsError as error:
        yield f'{place}: {error}'


def variable_table(pipeline: Any) -> list[dict[str, Any]]:
    """Returns one row per variable: `variable`, `shape`, `count`, and for each stage what it starts from and what happens to it.

    A variable of one of `models` has that name in front. A stage's cell is `origin: trained | updated | frozen | idle`, or `-`
    where the stage does not hold the variable; the origin of a layer that surgery put into published weights is `new`.
    """
    stages = list(all_stages(pipeline))
    rows = []
    for model, detector in _whole(pipeline).items():
        cells = {stage_id: _cells(pipeline, detector, stage_id, stage) for stage_id, stage, _ in stages if stage.model == model}
        for name, variable in names.named_variables(detector.modules).items():
            rows.append(
                {
                    'variable': f'{model}: {name}' if model else name,
                    'shape': 'x'.join(map(str, variable.shape)) or 'scalar',
                    'count': int(variable.shape.num_elements()),
                    **{stage_id: cells.get(stage_id, {}).get(name, '-') for stage_id, _, _ in stages},
                }
            )
    return rows


def _whole(pipeline: Any) -> dict[str | None, Network]:
    """Returns every network that a stage trains with all its modules, by its name under `models`; the pipeline's own as None."""
    stages = {stage.model: stage for _, stage, _ in all_stages(pipeline)}
    return {name: build_network(pipeline, stage, spec_of(pipeline, stage).modules) for name, stage in stages.items()}


def _cells(pipeline: Any, detector: Network, stage_id: str, stage: schema.Stage) -> dict[str, str]:
    roles, _ = roles_of(pipeline, stage, stage_id, detector)
    if not stage_kinds.trains(stage):
        return dict.fromkeys(roles.frozen, f'{", ".join(stage_kinds.made_of(stage))}: {stage.kind}')
    reached = reached_variables(detector, stage)
    layers_reached = {name.rsplit('/', 1)[0] for name in reached}
    words = dict.fromkeys(roles.trained, 'trained') | dict.fromkeys(roles.updated, 'updated')
    for name in roles.frozen:
        words[name] = 'frozen' if name.rsplit('/', 1)[0] in layers_reached else 'idle'
    return {name: f'{origin_of(pipeline, stage, detector, name)}: {word}' for name, word in words.items()}
