"""`stagetrain eval`: the metrics of finished stages, computed anew from their checkpoints, on the validation set or any other."""

from __future__ import annotations

import pathlib
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from stagetrain import outputs
from stagetrain.cli import prepare, streams
from stagetrain.config import schema, specs
from stagetrain.data import recognise
from stagetrain.data.index import load_dataset
from stagetrain.errors import EXIT_DONE, ConfigError, known_names, suggestion
from stagetrain.inference import choice
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline import runner
from stagetrain.pipeline.plan import Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process
from stagetrain.workers.environment import prepare_environment


def evaluate(directory: RunDirectory, stage: str | None, in_process: bool, console: rich.console.Console) -> int:
    """Evaluates one finished stage, or all, on the validation set and prints all metrics.

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
        plan = prepare.planned(loaded, directory, select)
        for planned in plan.stages:
            if planned.selected and planned.action != planning.EVALUATE:
                raise ConfigError(
                    f'stage {planned.id} is not up to date ({planned.reason}); run it first, or evaluate others with --stage'
                )
        runner.run(plan, directory, process.starter(in_process), console)
        results = directory.lock().stages
    metrics = {
        stage_id: dict(results[stage_id].result['metrics']) for stage_id in plan.graph.nodes if stage_id in select.evaluate
    }
    streams.print_table(_table(metrics), console)
    return EXIT_DONE


def evaluate_on(
    directory: RunDirectory,
    stage: str | None,
    source: schema.DataSource,
    json_file: pathlib.Path | None,
    console: rich.console.Console,
) -> int:
    """Measures one finished stage, the last by default, on any data set; nothing in the run directory changes.

    Raises:
      ConfigError: masks are asked for, and the data set's format or the detector has none.
      BadInput: the run has no such finished stage, the data set cannot be used, or the metrics cannot be written.
    """
    loaded = directory.config()
    metrics_file = None if json_file is None else outputs.file('--json', json_file, _are_metrics)
    found, reason = recognise.recognised(source)
    if found.masks:
        _require_masks(directory, found)
    chosen = choice.choose(directory.path, stage)
    console.print(rich.text.Text(f'{source.path}: read as {found.format}: {reason}'), soft_wrap=True)
    dataset = load_dataset(found, loaded.pipeline.data, 'validation', None)
    prepare_environment()
    from stagetrain.inference import measure

    metrics = measure.measure(chosen, dataset)
    left_out = f'; {len(dataset.bad)} faults left out' if dataset.bad else ''
    console.print(f'{len(dataset.examples)} images, {dataset.num_boxes} objects{left_out}', highlight=False)
    streams.print_table(_table({chosen.stage_id: metrics}), console)
    if metrics_file is not None:
        outputs.write_json('--json', metrics_file, metrics)
    return EXIT_DONE


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and 'AP' in value


def _require_masks(directory: RunDirectory, source: schema.DataSource) -> None:
    if not specs.data_format(source.format).has_masks:
        raise ConfigError(f'--masks: {source.path} is read as {source.format}, which has no masks; leave it out')
    model = directory.config().pipeline.model
    if not specs.spec_of(model).mask_losses:
        raise ConfigError(f'--masks: the detector of {directory.path}, {model.type}, predicts no masks; leave it out')


def _table(metrics: dict[str, dict[str, float | None]]) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column('')
    for stage_id in metrics:
        table.add_column(stage_id, justify='right')
    for name in dict.fromkeys(name for values in metrics.values() for name in values):
        cells = [values.get(name) for values in metrics.values()]
        table.add_row(name, *('' if value is None else f'{value:.3f}' for value in cells))
    return table
