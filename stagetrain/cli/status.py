"""`stagetrain status`: what became of every stage, in under a second."""

from __future__ import annotations

import rich.box
import rich.console
import rich.table
import rich.text

from stagetrain.api import preparation
from stagetrain.cli import prepare, streams
from stagetrain.errors import DamagedFile, DataError, WeightsError
from stagetrain.pipeline.graph import build_graph
from stagetrain.pipeline.plan import Selection, assess
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.status import StageStatus, stage_statuses, unjudged_statuses

_METRICS = {'AP': 'AP', 'AP50': 'AP50', 'recall_0.5': 'recall'}
"""Metric -> head of its column; `stagetrain eval` shows all, and eighty columns must do here."""
_STYLES = {'done': 'green', 'partial': 'yellow', 'stale': 'yellow', 'missing': 'dim'}


def status(directory: RunDirectory, console: rich.console.Console) -> None:
    """Prints the status of a run directory.

    Raises:
      RunDirectoryError: it is no run directory, or its lock is damaged.
    """
    loaded = directory.config()
    state = directory.state()
    remark = None
    try:
        facts = preparation.gather_facts(loaded.pipeline, directory.cache, prepare.tell)
        plan = assess(loaded, facts, state, select=Selection(variants=True))
        statuses = stage_statuses(plan, state, directory.ledger.read())
    except (DataError, WeightsError, DamagedFile) as error:
        remark = f'Whether stages are up to date is not known: {error}'
        statuses = unjudged_statuses(list(build_graph(loaded.pipeline).nodes), state)
    owner = directory.owner()
    console.print(rich.text.Text(f'{directory.path}' + (f' (in use by {owner})' if owner else '')), soft_wrap=True)
    streams.print_table(_table(statuses), console)
    for stage in statuses:
        if stage.text:
            console.print(rich.text.Text(f'{stage.id}: {stage.text}'), soft_wrap=True)
    if remark:
        console.print(rich.text.Text(remark), soft_wrap=True)


def _table(statuses: tuple[StageStatus, ...]) -> rich.table.Table:
    shown = [name for name in _METRICS if any(stage.metrics.get(name) is not None for stage in statuses)]
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ('stage', 'state', 'finished UTC', 'seconds', *(_METRICS[name] for name in shown)):
        table.add_column(name, justify='left' if name in ('stage', 'state', 'finished UTC') else 'right', no_wrap=True)
    for stage in statuses:
        numbers = [_number(stage.seconds, 1), *(_number(stage.metrics.get(name), 3) for name in shown)]
        state = rich.text.Text(stage.state, _STYLES[stage.state])
        table.add_row(stage.id, state, (stage.finished or '')[:16].replace('T', ' '), *numbers)
    return table


def _number(value: float | None, digits: int) -> str:
    return '' if value is None else f'{value:.{digits}f}'
