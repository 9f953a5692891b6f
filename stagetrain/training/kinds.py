"""Carries out a stage of any kind; and what all kinds share that make a stage's weights without training.

def make(job, emit, should_stop):                  # the implementation of a `config.stage_kinds.StageKind`
    return make_stage(job, emit, should_stop, lambda name, values: next(iter(values.values())))
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from stagetrain import files
from stagetrain.config import load, metric_names, specs, stage_kinds
from stagetrain.errors import WeightsError
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import Emit, ShouldStop, StageResult, note, progress
from stagetrain.pipeline.jobs import StageJob
from stagetrain.pipeline.records import OF_SEVERAL, VariableOrigin
from stagetrain.stages.context import Context, prepare
from stagetrain.stages.network import StageNetwork, stage_network
from stagetrain.training import best, checkpoint
from stagetrain.training.history import History
from stagetrain.training.stage import prove_unmoved
from stagetrain.training.validation import Validation
from stagetrain.weights import assign

Combine = Callable[[str, Mapping[str, np.ndarray]], np.ndarray]
"""(canonical name of a variable, id of each stage -> its value there) -> its value here, of the same shape and type. Where all
values are bit for bit alike, or no floats, it must give that of the first."""


def carry_out_stage(job: StageJob, emit: Emit, should_stop: ShouldStop) -> StageResult:
    """Carries out a job and returns what the implementation of its stage's kind returns.

    Raises:
      StagetrainError: as that implementation does.
    """
    load.load_resolved(job.pipeline)  # Imports plugins, which may have registered the kind.
    kind = stage_kinds.stage_kind(job.stage.get('kind', stage_kinds.TRAIN))
    result: StageResult = specs.load_implementation(kind.implementation)(job, emit, should_stop)
    return result


def make_stage(job: StageJob, emit: Emit, should_stop: ShouldStop, combine: Combine) -> StageResult:
    """Makes a stage's weights of the results of other stages, proves what stayed as it was, and evaluates them.

    A stage whose checkpoint is there already, after a crash or for another evaluation, is evaluated only.

    Args:
      job: the stage, and where it is made.
      emit: takes progress and notes.
      should_stop: asked after each batch of the evaluation.
      combine: what a variable becomes.

    Raises:
      Interrupted: stopped on request; the weights are saved.
      WeightsError: a stage's weights cannot be read, or do not fit each other.
      StageFailed: what had to stay as it was did not.
    """
    context, folder = prepare(job), pathlib.Path(job.folder)
    with context.strategy.scope():
        built = stage_network(context.pipeline, context.stage, context.id)
        step = tf.Variable(0, dtype=tf.int64, trainable=False)
    state = checkpoint.TrainingState(built.network.modules, None, step, classes=tuple(context.pipeline.data.classes))
    started = time.monotonic()
    if checkpoint.restore_newest(folder / run_files.CHECKPOINTS, state, lambda text: emit(note(text))) == 0:
        _combine(job, built, folder, combine)
        step.assign(1)
    made = time.monotonic()
    kept = files.read_json(folder / run_files.FROZEN)
    prove_unmoved(context.id, kept, assign.digests({name: built.variables[name] for name in kept}), 'when they were combined')
    proved = time.monotonic()
    saved = checkpoint.save(folder / run_files.CHECKPOINTS, state, max_to_keep=1)
    parts = {'training': made - started, 'proofs': proved - made, 'checkpoints': time.monotonic() - proved}
    return _evaluated(context, built, folder, saved, parts, emit, should_stop)


def _combine(job: StageJob, built: StageNetwork, folder: pathlib.Path, combine: Combine) -> None:
    """Gives every variable its value, and records where it came from and what of it must be as it was."""
    origins = {stage_id: next(iter(modules.values())) for stage_id, modules in job.made_of.items()}
    weights = {stage_id: assign.read_origin(origin) for stage_id, origin in origins.items()}
    lineage: dict[str, VariableOrigin] = {}
    kept: dict[str, str] = {}
    for name, variable in built.variables.items():
        values = _values(name, variable, weights)
        alike = {assign.digest(value) for value in values.values()}
        module, first = name.split('/')[0], next(iter(values))
        of = {stage_id: str(job.made_of[stage_id][module].digest) for stage_id in values}
        lineage[name] = {'kind': OF_SEVERAL, 'stages': of, 'key': name, 'how': job.stage['kind']}
        if len(alike) == 1 or not np.issubdtype(values[first].dtype, np.floating):
            kept[name] = assign.digest(values[first])
        if len(alike) > 1 and name in kept:
            lineage[name] = {'kind': 'stage', 'stage': first, 'path': str(origins[first].path), 'digest': of[first], 'key': name}
        variable.assign(combine(name, values))
    files.write_json(folder / run_files.LINEAGE, lineage)
    files.write_json(folder / run_files.FROZEN, kept)


def _values(name: str, variable: tf.Variable, weights: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    lacking = [stage_id for stage_id, found in weights.items() if name not in found]
    if lacking:
        raise WeightsError(f'{name}: not in the checkpoint of {lacking[0]}; run that stage again')
    return {stage_id: found[name] for stage_id, found in weights.items()}


def _evaluated(
    context: Context,
    built: StageNetwork,
    folder: pathlib.Path,
    saved: pathlib.Path,
    parts: Mapping[str, float],
    emit: Emit,
    should_stop: ShouldStop,
) -> StageResult:
    """Evaluates the weights and returns the stage's result."""
    started = time.monotonic()
    validation, history = Validation(context, built.network, {}), History(folder, context.stage.train)
    outcome = validation.run(should_stop)
    validation.write(outcome, folder)
    seconds = time.monotonic() - started
    history.forget_evaluation(1)
    history.append({'step': 1, 'seconds': round(parts['training'], 3), 'evaluation': outcome.metrics})
    emit(progress(1, 1, {key: outcome.metrics[key] for key in metric_names.HEADLINE if key in outcome.metrics}))
    weights = best.described(saved, context.run_dir)
    return StageResult(
        step=1,
        num_images=0,
        seconds=sum(parts.values()) + seconds,
        seconds_by_part={**parts, 'evaluation': seconds},
        features=None,
        num_trained_parameters=0,
        checkpoint=weights['checkpoint'],
        digests=weights['digests'],
        best=None,
        metrics=outcome.metrics,
        evaluation_seconds=seconds,
    )
