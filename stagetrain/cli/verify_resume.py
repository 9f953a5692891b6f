"""`stagetrain verify-resume`: trains a stage straight and with a SIGKILL on the way, and compares every bit.

Both take place in folders of their own beside the run directory's usual place; nothing that was trained before is touched.
"""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import rich.console
import rich.text

from stagetrain.api import preparation
from stagetrain.cli import prepare, progress, signals
from stagetrain.config import load
from stagetrain.errors import EXIT_DONE, EXIT_FAILED, ConfigError, Interrupted, known_names, suggestion
from stagetrain.pipeline import runner
from stagetrain.pipeline.answers import Emit, Message
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers import process, quiet

_NUM_SHOWN = 5

ReadValues = Callable[[pathlib.Path], Mapping[str, str]]


def verify_resume(
    config: pathlib.Path,
    stage: str,
    at: int,
    *,
    overrides: Sequence[str],
    folder: pathlib.Path,
    console: rich.console.Console,
    start_worker: Callable[[], process.ChildWorker] = process.start_child,
    read_values: ReadValues | None = None,
) -> int:
    """Compares a stage that was killed and resumed with the same stage trained straight; returns 0 when all bits are equal.

    Args:
      config: the pipeline file.
      stage: the stage, with the stages that stand before it.
      at: the child is killed when this step is done.
      overrides: as of `--set`.
      folder: holds the two run directories `straight` and `resumed`.
      console: where to print.
      start_worker: starts a child; tests give another one.
      read_values: checkpoint folder -> key -> digest; the tensors of a TensorFlow checkpoint by default.

    Raises:
      ConfigError: there is no such stage, or it has no such step.
      StagetrainError: a stage failed in another way.
    """
    loaded = prepare.checked(config, [*overrides, f'stages.{stage}.train.summary_interval=1'])
    for asked in loaded.unmeasured:
        raise ConfigError(f'{asked.place}: recipe.budget: found {asked.budget}; expected steps here: --set recipe.budget=2400')
    straight, resumed = RunDirectory(folder / 'straight'), RunDirectory(folder / 'resumed')
    for directory in (straight, resumed):
        directory.require_usable()
    _require_stage(loaded, stage)
    plan = preparation.planned(loaded, straight, Selection(until=stage))
    _require_step(stage, at, next(planned.num_steps for planned in plan.stages if planned.id == stage))
    _run(loaded, straight, Selection(until=stage), start_worker, console)
    _require_step(stage, at, int(straight.lock().stages[stage].result['step']))  # Early stopping may have left fewer.
    shutil.rmtree(resumed.path, ignore_errors=True)  # Its former run, as `require_usable` saw.
    shutil.copytree(straight.path, resumed.path)
    resumed.forget_stage(stage)
    try:
        _run(loaded, resumed, Selection(only=stage), lambda: _KilledAt(start_worker(), stage, at), console)
    except Interrupted:
        saved = resumed.state().partial[stage].step
        _say(console, f'{stage}: killed behind step {at}; its newest checkpoint is of step {saved}')
    _run(loaded, resumed, Selection(only=stage), start_worker, console)
    return _compare(stage, straight, resumed, read_values or _tensors, console)


class _KilledAt:
    """A worker that is killed when its training has reached a step."""

    def __init__(self, worker: process.ChildWorker, stage: str, at: int) -> None:
        self._worker, self._stage, self._at = worker, stage, at

    def carry_out(self, job_file: pathlib.Path, emit: Emit) -> dict[str, Any]:
        """Carries a job out; the stage's own ends with `Interrupted`."""

        def watch(event: Message) -> None:
            emit(event)
            if job_file.parent.name == self._stage and event['event'] == 'progress' and event['step'] >= self._at:
                self._worker.kill()

        return self._worker.carry_out(job_file, watch)

    def interrupt(self) -> None:
        """Asks it to save and stop."""
        self._worker.interrupt()

    def kill(self) -> None:
        """Ends it at once."""
        self._worker.kill()

    def close(self) -> None:
        """Lets it go."""
        self._worker.close()


def _run(
    loaded: load.Loaded,
    directory: RunDirectory,
    select: Selection,
    start_worker: runner.StartWorker,
    console: rich.console.Console,
) -> None:
    with directory.writing(), signals.stopping_the_run() as stopper:
        plan = prepare.planned(loaded, directory, select)
        directory.create_or_open(loaded)
        runner.run(plan, directory, start_worker, progress.Console(console), stopper)


def _require_stage(loaded: load.Loaded, stage: str) -> None:
    names = [known.name for known in loaded.pipeline.stages]
    if stage not in names:
        raise ConfigError(f"--stage: no stage '{stage}'. Known here: {known_names(names)}.{suggestion(stage, names)}")


def _require_step(stage: str, at: int, num_steps: int) -> None:
    if not 0 < at < num_steps:
        raise ConfigError(f'--at {at}: stage {stage} has {num_steps} steps; expected a step between 1 and {num_steps - 1}')


def _compare(
    stage: str, straight: RunDirectory, resumed: RunDirectory, read_values: ReadValues, console: rich.console.Console
) -> int:
    first, second = (
        read_values(directory.checkpoint(directory.lock().stages[stage].result)) for directory in (straight, resumed)
    )
    different = sorted(key for key in {*first, *second} if first.get(key) != second.get(key))
    if different:
        shown = ', '.join(different[:_NUM_SHOWN])
        _say(console, f'{stage}: {len(different)} of {len(first)} tensors differ after the resume, e.g. {shown}')
        return EXIT_FAILED
    _say(console, f'{stage}: all {len(first)} tensors are bit for bit equal, straight and resumed')
    return EXIT_DONE


def _tensors(checkpoint: pathlib.Path) -> Mapping[str, str]:
    with quiet.computing():
        from stagetrain.weights import tensor_checks

        return tensor_checks.tensor_digests(checkpoint)


def _say(console: rich.console.Console, text: str) -> None:
    console.print(rich.text.Text(text), soft_wrap=True)
