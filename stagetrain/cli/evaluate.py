"""`stagetrain eval`: the metrics of finished stages, computed anew from their checkpoints, on the validation set or any other."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import rich.box
import rich.console
import rich.table
import rich.text

from stagetrain import outputs
from stagetrain.api import evaluating
from stagetrain.cli import prepare, progress, signals, streams
from stagetrain.config import schema
from stagetrain.errors import EXIT_DONE
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process, quiet


def evaluate(directory: RunDirectory, stage: str | None, in_process: bool, console: rich.console.Console) -> int:
    """Evaluates one finished stage, or all, on the validation set and prints all metrics.

    Raises:
      StagetrainError: as `evaluating.on_validation`.
    """
    with signals.stopping_the_run() as stopper:
        metrics = evaluating.on_validation(
            directory,
            stage,
            start_worker=process.starter(in_process),
            listen=progress.Console(console),
            stopper=stopper,
            tell=prepare.tell,
        )
    streams.print_table(_table(metrics), console)
    return EXIT_DONE


def evaluate_on(
    directory: RunDirectory,
    stage: str | None,
    source: schema.DataSource,
    json_file: pathlib.Path | None,
    console: rich.console.Console,
) -> int:
    """Measures one finished stage, the last by default, on any data set; in the run directory only a log is written.

    Raises:
      BadInput: as `evaluating.on_data`, or the metrics cannot be written.
    """
    directory.require()
    metrics_file = None if json_file is None else outputs.file('--json', json_file, _are_metrics)
    with quiet.printing_to(directory.log('eval')):
        found = evaluating.on_data(directory, stage, source, lambda text: console.print(rich.text.Text(text), soft_wrap=True))
    left_out = f'; {len(found.dataset.bad)} faults left out' if found.dataset.bad else ''
    console.print(f'{len(found.dataset.examples)} images, {found.dataset.num_boxes} objects{left_out}', highlight=False)
    streams.print_table(_table({found.stage_id: found.metrics}), console)
    if metrics_file is not None:
        outputs.write_json('--json', metrics_file, dict(found.metrics))
    return EXIT_DONE


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and 'AP' in value


def _table(metrics: Mapping[str, Mapping[str, float | None]]) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column('')
    for stage_id in metrics:
        table.add_column(stage_id, justify='right')
    for name in dict.fromkeys(name for values in metrics.values() for name in values):
        cells = [values.get(name) for values in metrics.values()]
        table.add_row(name, *('' if value is None else f'{value:.3f}' for value in cells))
    return table
