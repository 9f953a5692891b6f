"""A pipeline file as a value that plans and runs.

pipeline = load('configs/bccd/four_step.yaml', overrides=['stages.rpn_1.train.steps=50'])
print(pipeline.plan('runs/bccd'))
run = pipeline.run('runs/bccd', only='rpn_2')
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from stagetrain.api import preparation, running
from stagetrain.api.run import Run, open_run
from stagetrain.config import load as loading
from stagetrain.config.schema import PipelineBase
from stagetrain.pipeline.events import Listener, nobody
from stagetrain.pipeline.planned import Plan, Selection
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.pipeline.stopping import Stopper
from stagetrain.workers import process


class Pipeline:
    """A checked pipeline."""

    def __init__(self, keys: str | os.PathLike[str] | Mapping[str, Any], overrides: Sequence[str] = ()) -> None:
        """Checks all rules.

        Args:
          keys: what a pipeline file holds, as a mapping; or the path of one. Relative paths in a mapping start from the working
            directory.
          overrides: `PATH=VALUE` each, as of `--set`.

        Raises:
          ConfigError: rules are broken; every one is listed.
        """
        self._loaded = preparation.checked(keys, overrides)

    @property
    def config(self) -> PipelineBase:
        """All keys with their types and defaults: `pipeline.config.stages[0].train.steps`."""
        return self._loaded.pipeline

    @property
    def resolved(self) -> Mapping[str, Any]:
        """The keys as plain values, with bases, recipes, overrides and environment applied; a `Pipeline` of it is equal."""
        return self._loaded.resolved

    def __str__(self) -> str:
        """Returns the YAML text of `resolved`, as `stagetrain plan --expand` prints it."""
        return loading.dump_resolved(self._loaded)

    def plan(
        self,
        run_dir: str | os.PathLike[str] | None = None,
        *,
        only: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        force: Sequence[str] = (),
        variants: bool = False,
    ) -> Plan:
        """Returns what would run, and why; `str` of it is what `stagetrain plan` prints. Writes nothing but caches.

        Args:
          run_dir: the run directory, which need not be there; `runs/<name of the file>` by default.
          only: this stage alone; what it starts from must be up to date.
          from_: this stage and those after it.
          until: this stage and those before it.
          force: start these stages again.
          variants: the stages of `compare` too.

        Raises:
          ConfigError: an unknown stage, a source that is not up to date, or a half-done stage that has changed.
          DataError, WeightsError: the data or a source cannot be used.
        """
        select = Selection(only=only, from_=from_, until=until, force=tuple(force), variants=variants)
        return preparation.planned(self._loaded, self._directory(run_dir), select)

    def run(
        self,
        run_dir: str | os.PathLike[str] | None = None,
        *,
        only: str | None = None,
        from_: str | None = None,
        until: str | None = None,
        force: Sequence[str] = (),
        variants: bool = False,
        on_event: Listener = nobody,
        stopper: Stopper | None = None,
        in_process: bool = False,
    ) -> Run:
        """Runs the stages that are not up to date, each in a child process, and returns the run; works in any thread.

        Args:
          run_dir, only, from_, until, force, variants: as for `plan`.
          on_event: called in this thread with each `stagetrain.pipeline.events.Event`.
          stopper: `stopper.ask()`, from any thread or a signal handler, has the stage at work save and stop.
          in_process: train in this process, for debuggers: it seeds Python's and NumPy's generators, clears the Keras session
            before each module that it builds, and sets TensorFlow's thread pools; memory grows with every stage.

        Raises:
          Interrupted: `stopper` was asked; the stage was saved.
          StagetrainError: of the kind that happened; what was done before is kept.
        """
        directory = self._directory(run_dir)
        running.run(
            self._loaded,
            directory,
            Selection(only=only, from_=from_, until=until, force=tuple(force), variants=variants),
            start_worker=process.starter(in_process),
            listen=on_event,
            stopper=stopper,
        )
        return open_run(directory.path)

    def _directory(self, run_dir: str | os.PathLike[str] | None) -> RunDirectory:
        name = self._loaded.path.stem if self._loaded.path else self.config.name
        return RunDirectory(pathlib.Path('runs') / name if run_dir is None else pathlib.Path(run_dir))


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Pipeline:
    """Returns the pipeline of a file; see `Pipeline`.

    Raises:
      ConfigError: the file cannot be read, or rules are broken.
    """
    return Pipeline(path, overrides)
