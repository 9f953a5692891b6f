"""Measures finished stages again: on the validation set, or on any data set."""

from __future__ import annotations

import dataclasses

from stagetrain.api import preparation
from stagetrain.config import schema, specs
from stagetrain.data import recognise, user_cache
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.errors import ConfigError, known_names, suggestion
from stagetrain.inference import choice
from stagetrain.pipeline import runner
from stagetrain.pipeline.answers import Metrics
from stagetrain.pipeline.events import Listener
from stagetrain.pipeline.planned import EVALUATE, Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.stopping import Stopper
from stagetrain.workers.environment import prepare_environment


@dataclasses.dataclass(frozen=True)
class Measured:
    """A stage's metrics on a data set."""

    stage_id: str
    dataset: Dataset
    metrics: Metrics


def on_validation(
    directory: RunDirectory,
    stage: str | None,
    *,
    start_worker: runner.StartWorker,
    listen: Listener,
    stopper: Stopper | None = None,
    tell: preparation.Tell = preparation.silent,
) -> dict[str, Metrics]:
    """Evaluates one finished stage, or all, on the validation set and returns stage -> metrics.

    Raises:
      ConfigError: the stage is unknown, not finished or stale, or nothing is finished.
      StagetrainError: as `runner.run`.
    """
    loaded = directory.config()
    with directory.writing():
        finished = list(directory.state().lock.stages)
        if stage is not None and stage not in finished:
            raise ConfigError(
                f"--stage: no finished stage '{stage}'. Finished here: {known_names(finished)}.{suggestion(stage, finished)}"
            )
        if not finished:
            raise ConfigError(f'{directory.path}: no stage is finished; run the pipeline first')
        select = Selection(evaluate=(stage,) if stage else tuple(finished))
        plan = preparation.planned(loaded, directory, select, tell)
        for stage_plan in plan.stages:
            if stage_plan.selected and stage_plan.action != EVALUATE:
                lack = f'stage {stage_plan.id} is not up to date ({stage_plan.reason})'
                raise ConfigError(f'{lack}; run it first, or evaluate others with --stage')
        runner.run(plan, directory, start_worker, listen, stopper)
        results = directory.lock().stages
    return {stage_id: dict(results[stage_id].result['metrics']) for stage_id in plan.graph.nodes if stage_id in select.evaluate}


def on_data(
    directory: RunDirectory, stage: str | None, source: schema.DataSource, tell: preparation.Tell = preparation.silent
) -> Measured:
    """Measures one finished stage, the last by default, on a data set; nothing in the run directory changes.

    Raises:
      ConfigError: masks are asked for, and the data set's format or the detector has none.
      BadInput: the run has no such finished stage, or the data set cannot be used.
    """
    loaded = directory.config()
    found, reason = recognise.recognised(source)
    if found.masks:
        _require_masks(directory, found)
    chosen = choice.choose(directory.path, stage)
    tell(f'{source.path}: read as {found.format}: {reason}')
    dataset = load_dataset(found, loaded.pipeline.data, 'validation', None, user_cache_dir=user_cache.folder())
    prepare_environment()
    from stagetrain.inference import measure

    return Measured(chosen.stage_id, dataset, measure.measure(chosen, dataset))


def _require_masks(directory: RunDirectory, source: schema.DataSource) -> None:
    if not specs.data_format(source.format).has_masks:
        raise ConfigError(f'--masks: {source.path} is read as {source.format}, which has no masks; leave it out')
    model = directory.config().pipeline.model
    if not specs.spec_of(model).mask_losses:
        raise ConfigError(f'--masks: the detector of {directory.path}, {model.type}, predicts no masks; leave it out')
