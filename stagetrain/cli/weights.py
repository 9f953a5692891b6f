"""The verbs `weights show` and `weights diff`: what is in weight files, and what differs between two of them."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping

import numpy as np
import rich.console
import rich.table
import rich.text

from stagetrain.cli import streams
from stagetrain.config import schema
from stagetrain.errors import ConfigError, WeightsError, known_names
from stagetrain.pipeline import other_runs, run_files
from stagetrain.weights import diff, recognise
from stagetrain.workers import quiet


def show(path: pathlib.Path, scope: str, console: rich.console.Console) -> None:
    """Prints every array of a weight file: name, shape, type, count, range, mean and deviation, and what is not finite.

    Args:
      path: see `recognise.recognise`; or a run directory, whose last stage is meant.
      scope: a regular expression that must match a whole name.
      console: where to.

    Raises:
      ConfigError: the scope is no regular expression, or matches nothing.
      WeightsError: the file cannot be read.
    """
    pattern = _compiled(scope)
    found = _found(path)
    arrays = _read(found)
    chosen = _in_scope(arrays, pattern, path)
    table = _table('name', 'shape', 'type', 'count', 'min', 'max', 'mean', 'deviation')
    for name, array in sorted(chosen.items()):
        table.add_row(rich.text.Text(name), _shape(array.shape), str(array.dtype), f'{array.size:,}', *_statistics(array))
    streams.print_rows(table, console)
    count = sum(array.size for array in chosen.values())
    console.print(f'{path} ({found.kind}): {len(chosen)} arrays, {count:,} numbers', highlight=False, soft_wrap=True)


def compare(a: pathlib.Path, b: pathlib.Path, module: str | None, console: rich.console.Console) -> None:
    """Prints what changed from A to B and by how much: each variable that is not equal to the bit, then each module.

    Args:
      a: the weights before.
      b: the weights after.
      module: only this module; where a file has it as the beginning of its names, it is left off.
      console: where to.

    Raises:
      WeightsError: a file cannot be read, or the two have no name in common.
    """
    found = [_found(path) for path in (a, b)]
    before, after = map(_read, found)
    if module is not None:
        before, after = _of_module(before, module), _of_module(after, module)
    if not set(before) & set(after):
        raise WeightsError(
            f'{a} and {b} have no name in common (e.g. {min(before, default="(none)")} and {min(after, default="(none)")}). '
            f'A file of one network is compared with a stage by naming its module: --module backbone'
        )
    changes = diff.compare(before, after)
    streams.print_rows(_variables_table(changes), console)
    console.print()
    streams.print_rows(_modules_table(changes), console)


def _table(*columns: str) -> rich.table.Table:
    table = rich.table.Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


def _found(path: pathlib.Path) -> recognise.WeightFile:
    if (path / run_files.CONFIG).is_file():
        path = other_runs.finished_stage(str(path), schema.Source(run=str(path))).checkpoint
    return recognise.recognise(path)


def _read(found: recognise.WeightFile) -> dict[str, np.ndarray]:
    with quiet.computing():
        return recognise.read(found)


def _compiled(scope: str) -> re.Pattern[str]:
    try:
        return re.compile(scope)
    except re.error as error:
        raise ConfigError(f"--scope '{scope}' is no regular expression: {error}") from error


def _in_scope(arrays: Mapping[str, np.ndarray], pattern: re.Pattern[str], path: pathlib.Path) -> dict[str, np.ndarray]:
    chosen = {name: array for name, array in arrays.items() if pattern.fullmatch(name)}
    if not chosen:
        modules = known_names({diff.module_of(name) for name in arrays})
        raise ConfigError(
            f"--scope '{pattern.pattern}' matches none of the {len(arrays)} names in {path}, which begin with: {modules}"
        )
    return chosen


def _of_module(arrays: Mapping[str, np.ndarray], module: str) -> dict[str, np.ndarray]:
    prefix = f'{module}/'
    inside = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return inside or dict(arrays)


def _variables_table(changes: list[diff.Difference]) -> rich.table.Table:
    table = _table('variable', 'shape', 'what', 'largest change', 'relative change')
    for change in changes:
        if change.verdict != diff.EQUAL:
            shapes = ' -> '.join(dict.fromkeys(_shape(shape) for shape in (change.shape_a, change.shape_b) if shape is not None))
            by = (_number(change.largest), f'{change.relative:.3%}') if change.verdict == diff.CHANGED else ('', '')
            table.add_row(rich.text.Text(change.name), shapes, change.verdict, *by)
    return table


def _modules_table(changes: list[diff.Difference]) -> rich.table.Table:
    table = _table('module', 'equal', 'changed', 'other', 'largest change', 'relative change')
    for module, found in diff.summaries(changes).items():
        counts = (str(found.num_equal), str(found.num_changed), str(found.num_other))
        table.add_row(rich.text.Text(module), *counts, _number(found.largest), f'{found.relative:.3%}')
    return table


def _statistics(array: np.ndarray) -> tuple[str, ...]:
    if not array.size:
        return ('', '', '', '')
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        return (f'{int((~np.isfinite(values)).sum()):,} not finite', '', '', '')
    return tuple(_number(float(value)) for value in (values.min(), values.max(), values.mean(), values.std()))


def _number(value: float) -> str:
    return f'{value:.4g}'


def _shape(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'
