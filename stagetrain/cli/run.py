"""`stagetrain run` and `stagetrain compare`."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Sequence

import rich.console
import rich.text

from stagetrain.api import running
from stagetrain.cli import prepare, progress, signals, streams
from stagetrain.config import load
from stagetrain.errors import EXIT_DONE, ConfigError
from stagetrain.evaluation import compare
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.rundir import RunDirectory, explained
from stagetrain.workers import process, quiet


def run(
    loaded: load.Loaded,
    directory: RunDirectory,
    select: Selection,
    in_process: bool,
    console: rich.console.Console,
    equal: str | None = None,
) -> int:
    """Runs the selected stages of a pipeline that are not up to date; returns the exit code. `equal` is as for `running.run`.

    Raises:
      StagetrainError: as `runner.run`, `make_plan` and `RunDirectory.writing`.
    """
    with signals.stopping_the_run() as stopper:
        running.run(
            loaded,
            directory,
            select,
            start_worker=process.starter(in_process),
            listen=progress.Console(console),
            stopper=stopper,
            tell=prepare.tell,
            equal=equal,
        )
    return EXIT_DONE


def compare_config(
    config: pathlib.Path,
    directory: RunDirectory,
    *,
    overrides: Sequence[str],
    seeds: int,
    equal: str | None,
    in_process: bool,
    console: rich.console.Console,
) -> int:
    """Runs what is missing of a pipeline and its variants, for one or more seeds, and reports.

    All seeds have the lengths of the first one, where those depend on this machine.
    """
    first = prepare.checked(config, overrides)
    named = directory.path if directory.path.name not in ('', '..') else pathlib.Path(os.path.abspath(directory.path))
    others = [first.pipeline.seed + number for number in range(1, seeds)]
    directories = [directory, *(RunDirectory(named.with_name(f'{named.name}.seed{seed}')) for seed in others)]
    for one in directories:
        one.require_usable()
    for seed, one in zip((None, *others), directories, strict=True):
        loaded = first if seed is None else prepare.checked(config, [*overrides, f'seed={seed}'])
        if one is not directory:
            _take_lengths(directory, one)
        run(loaded, one, Selection(variants=True), in_process, console, equal)
    return report(directories, console)


def _take_lengths(first: RunDirectory, other: RunDirectory) -> None:
    """Keeps the lengths that were decided for one run in another."""
    decided = first.lengths()
    if decided:
        with other.writing():
            for key, value in decided.items():
                other.keep_lengths(key, value)


def compare_runs(paths: Sequence[pathlib.Path], console: rich.console.Console) -> int:
    """Compares run directories as they are, and writes the report into the first."""
    directories = [RunDirectory(path) for path in paths]
    for directory in directories:
        directory.require()
    return report(directories, console)


def is_run_directory(path: pathlib.Path) -> bool:
    """Returns whether a path given to `compare` means a run directory and not a pipeline file."""
    return path.is_dir()


def report(directories: Sequence[RunDirectory], console: rich.console.Console) -> int:
    """Prints the comparison of run directories and writes it into the first one's `report/`."""
    summaries = compare.load_summaries(*(directory.path for directory in directories))
    found = compare.compare_runs(summaries)
    if not found.rows:
        missing = '; '.join(f'{name} lacks {", ".join(stages)}' for name, stages in found.unfinished.items())
        raise ConfigError(
            f'{directories[0].path}: nothing to compare yet: {missing}. Run `stagetrain compare CONFIG` to train what is missing.'
        )
    with quiet.printing_to(directories[0].log('compare')), explained(directories[0].path):
        page = compare.write_report(directories[0].path, summaries)
    with contextlib.suppress(ValueError):
        page = page.relative_to(pathlib.Path.cwd())
    streams.print_table(compare.table(found), console)
    for sentence in found.sentences():
        console.print(rich.text.Text(sentence), soft_wrap=True)
    console.print(f'The report is in {page}', highlight=False, soft_wrap=True)
    return EXIT_DONE
