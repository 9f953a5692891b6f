"""A run directory as a value: what its stages gave, whether they are up to date, and what can be measured of them.

run = open_run('runs/bccd')
run.stages['detector_2'].metrics['AP']
run.status().stages
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import types
from collections.abc import Mapping
from typing import Any

from stagetrain import files
from stagetrain.api import cleaning, evaluating, preparation
from stagetrain.config import schema
from stagetrain.errors import DamagedFile, DataError, WeightsError
from stagetrain.evaluation import compare as comparing
from stagetrain.inference import export as exporting
from stagetrain.pipeline import file_checks as verifying
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import StageResult
from stagetrain.pipeline.events import Listener, nobody
from stagetrain.pipeline.graph import build_graph
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.planned import Selection
from stagetrain.pipeline.records import VariableOrigin
from stagetrain.pipeline.rundir import RunDirectory, explained
from stagetrain.pipeline.status import StageStatus, stage_statuses, unjudged_statuses
from stagetrain.pipeline.stopping import Stopper
from stagetrain.workers import process
from stagetrain.workers.environment import prepare_environment


@dataclasses.dataclass(frozen=True)
class StageRecord:
    """A finished stage."""

    id: str
    metrics: Mapping[str, float | None]
    """As in `evaluation.json`; None: could not be measured."""
    checkpoint: pathlib.Path
    """The folder of the weights that it hands over."""
    digests: Mapping[str, str]
    """Module -> SHA-256 of its variables."""
    step: int
    seconds: float
    """Training, evaluation, checkpoints and proofs, over all sessions."""
    folder: pathlib.Path
    """`stages/<id>`."""

    def lineage(self) -> Mapping[str, VariableOrigin]:
        """Returns canonical name -> where the variable came from."""
        return dict(files.read_json(self.folder / run_files.LINEAGE))


@dataclasses.dataclass(frozen=True)
class RunStatus:
    """What became of every stage."""

    stages: tuple[StageStatus, ...]
    remark: str | None
    """Why it is not known what is up to date, where it is not."""
    owner: str | None
    """Who writes the directory now, in words."""


class Run:
    """A run directory."""

    def __init__(self, path: pathlib.Path) -> None:
        self._directory = RunDirectory(path)

    @property
    def path(self) -> pathlib.Path:
        """The folder."""
        return self._directory.path

    @property
    def config(self) -> schema.PipelineBase:
        """The resolved pipeline in `run.yaml`."""
        return self._directory.config().pipeline

    @property
    def stages(self) -> Mapping[str, StageRecord]:
        """The finished stages by id (`rpn_1`; of a variant `end_to_end.joint`), in the pipeline's order."""
        entries = self._directory.lock().stages
        order = build_graph(self.config).nodes
        known = [stage_id for stage_id in order if stage_id in entries]
        known += [stage_id for stage_id in entries if stage_id not in order]
        return {stage_id: self._record(stage_id, entries[stage_id]) for stage_id in known}

    def status(self, tell: preparation.Tell = preparation.silent) -> RunStatus:
        """Returns what is done, partial, stale or missing, and why.

        Raises:
          RunDirectoryError: its lock is damaged.
        """
        loaded, state, remark = self._directory.config(), self._directory.state(), None
        try:
            facts = preparation.gather_facts(loaded.pipeline, self._directory.cache, tell)
            plan = planning.assess(loaded, facts, state, select=Selection(variants=True))
            statuses = stage_statuses(plan, state, self._directory.ledger.read())
        except (DataError, WeightsError, DamagedFile) as error:
            remark = f'Whether stages are up to date is not known: {error}'
            statuses = unjudged_statuses(list(build_graph(loaded.pipeline).nodes), state)
        return RunStatus(statuses, remark, self._directory.owner())

    def evaluate(
        self,
        stage: str | None = None,
        *,
        data: schema.DataSource | None = None,
        on_event: Listener = nobody,
        stopper: Stopper | None = None,
        in_process: bool = False,
    ) -> Mapping[str, Mapping[str, float | None]]:
        """Measures finished stages again and returns stage -> metrics.

        Args:
          stage: this one; by default all, or with `data` the pipeline's last.
          data: another data set than the validation set, with the run's classes; nothing in the run directory changes then, and
            TensorFlow is imported into this process.
          on_event, stopper, in_process: as of `Pipeline.run`.

        Raises:
          BadInput: no such finished stage, or the data cannot be used.
        """
        if data is not None:
            measured = evaluating.on_data(self._directory, stage, data)
            return {measured.stage_id: measured.metrics}
        return evaluating.on_validation(
            self._directory, stage, start_worker=process.starter(in_process), listen=on_event, stopper=stopper
        )

    def compare(self, *others: Run) -> comparing.Comparison:
        """Returns the variants of this run, or of several runs, side by side; runs that differ in their seed alone as means.

        Raises:
          RunDirectoryError: a run is none.
        """
        return comparing.compare_runs(comparing.load_summaries(self.path, *(other.path for other in others)))

    def report(self, *others: Run) -> pathlib.Path:
        """Writes `report/` (tables, plots, page) of this run, compared with others, and returns the page."""
        summaries = comparing.load_summaries(self.path, *(other.path for other in others))
        with explained(self.path):
            return comparing.write_report(self.path, summaries)

    def export(
        self,
        format: str,
        out: str | os.PathLike[str],
        *,
        stage: str | None = None,
        options: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> pathlib.Path:
        """Writes a finished stage's network in a form that other programs read, and returns the folder.

        TensorFlow is imported into this process; the run directory does not change.

        Args:
          format: a registered exporter, such as `saved_model`.
          out: the folder to make; one that an earlier export left is replaced, anything else is not.
          stage: the stage's id; by default the pipeline's last.
          options: the exporter's (`docs/export.md`).

        Raises:
          BadInput: no such exporter or finished stage, a wrong option, or `out` cannot be written.
        """
        asked = exporting.make(self.path, format, pathlib.Path(out), stage, options)
        prepare_environment()
        return exporting.carry_out(asked)

    def verify(self) -> verifying.Report:
        """Compares every file with its digest and traces every variable to its origin; without TensorFlow."""
        return verifying.verify(self._directory)

    def clean(self) -> int:
        """Removes stores that no stage needs and returns the bytes freed."""
        return sum(cleaning.clean(self._directory))

    def _record(self, stage_id: str, entry: Entry[StageResult]) -> StageRecord:
        result = entry.result
        return StageRecord(
            id=stage_id,
            metrics=dict(result.get('metrics') or {}),
            checkpoint=self._directory.checkpoint(result),
            digests=dict(result['digests']),
            step=int(result['step']),
            seconds=float(result['seconds']),
            folder=self._directory.stage(stage_id),
        )


def open_run(path: str | os.PathLike[str]) -> Run:
    """Returns a run directory.

    Raises:
      RunDirectoryError: it is none.
    """
    run = Run(pathlib.Path(path))
    RunDirectory(run.path).require()
    return run
