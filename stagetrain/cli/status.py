"""`stagetrain status`: what became of every stage, in under a second."""

from __future__ import annotations

import rich.box
import rich.console
import rich.table
import rich.text

from stagetrain.api.run import Run
from stagetrain.cli import prepare, streams
from stagetrain.config import metric_names
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.status import StageStatus

_HEADS = {metric_names.RECALL: 'recall'}
"""Metric -> head of its column, where that is shorter: eighty columns must do."""
_STYLES = {'done': 'green', 'partial': 'yellow', 'stale': 'yellow', 'missing': 'dim'}


def status(directory: RunDirectory, console: rich.console.Console) -> None:
    """Prints the status of a run directory.

    Raises:
      RunDirectoryError: it is no run directory, or its lock is damaged.
    """
    directory.require()
    found = Run(directory.path).status(prepare.tell)
    in_use = f' (in use by {found.owner})' if found.owner else ''
    console.print(rich.text.Text(f'{directory.path}{in_use}'), soft_wrap=True)
    streams.print_table(_table(found.stages), console)
    for stage in found.stages:
        if stage.text:
            console.print(rich.text.Text(f'{stage.id}: {stage.text}'), soft_wrap=True)
    if found.remark:
        console.print(rich.text.Text(found.remark), soft_wrap=True)


def _table(statuses: tuple[StageStatus, ...]) -> rich.table.Table:
    shown = [name for name in metric_names.BRIEF if any(stage.metrics.get(name) is not None for stage in statuses)]
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ('stage', 'state', 'finished UTC', 'seconds', *(_HEADS.get(name, name) for name in shown)):
        table.add_column(name, justify='left' if name in ('stage', 'state', 'finished UTC') else 'right', no_wrap=True)
    for stage in statuses:
        numbers = [_number(stage.seconds, 1), *(_number(stage.metrics.get(name), 3) for name in shown)]
        state = rich.text.Text(stage.state, _STYLES[stage.state])
        table.add_row(stage.id, state, (stage.finished or '')[:16].replace('T', ' '), *numbers)
    return table


def _number(value: float | None, digits: int) -> str:
    return '' if value is None else f'{value:.{digits}f}'
