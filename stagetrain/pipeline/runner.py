"""Carries a plan out: one child process per job, with a ledger line and a lock entry for each.

    run(plan, directory, start_worker, listen=print)

The runner knows nothing of TensorFlow or of training: `start_worker` gives it something that carries out a job file. A worker is
started for the next job while the present one is in its second half, so that its imports cost no time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from stagetrain import files, flags
from stagetrain.config import load
from stagetrain.errors import EXIT_DONE, DamagedFile, Interrupted, StageFailed, StagetrainError
from stagetrain.pipeline import actions, fingerprint, gates, job_making, planned, run_files, run_log, stopping
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline.answers import ArtefactResult, Emit, Message, StageResult
from stagetrain.pipeline.events import Checking, Ended, Finished, Listener, Measuring, Note, Progress, Remark, Skipped, Started
from stagetrain.pipeline.jobs import SpeedJob
from stagetrain.pipeline.ledger import utc_now
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.planned import ArtefactPlan, Plan, StagePlan
from stagetrain.pipeline.rundir import RunDirectory, explained
from stagetrain.pipeline.speed import Speed
from stagetrain.pipeline.stopping import Stopper, Work

_STALE_EVALUATION = (run_files.EVALUATION, 'detections.json', 'images.json')


class Worker(Protocol):
    """Something that carries out one job: a child process, or this process itself."""

    def carry_out(self, job_file: pathlib.Path, emit: Emit) -> dict[str, Any]:
        """Returns the job's result; raises `StagetrainError` when it failed, `Interrupted` when it saved and stopped."""

    def interrupt(self) -> None:
        """Asks it to save and stop; called from a signal handler."""

    def kill(self) -> None:
        """Ends it at once; called from a signal handler."""

    def close(self) -> None:
        """Lets it go, whether it was used or not."""


StartWorker = Callable[[], Worker]


def run(plan: Plan, directory: RunDirectory, start_worker: StartWorker, listen: Listener, stopper: Stopper | None = None) -> int:
    """Carries out the selected stages of a plan, in order; call it inside `directory.writing()`, in any thread.

    Args:
      plan: what to do.
      directory: the run directory.
      start_worker: starts what carries a job out.
      listen: takes what happens.
      stopper: asks the run to stop, from a signal handler or another thread.

    Returns:
      0; every other end is an exception that carries its exit code.

    Raises:
      StageFailed: a stage failed or its process died; the ledger says how, and the same command goes on from its last checkpoint.
        Or a trained stage does not keep what it `require`s.
      Interrupted: it was asked to stop; the stage was saved.
      ConfigError: a stage turned out to be half-done under another config.
      RunDirectoryError: the disk is full or read-only.
    """
    stopper = stopper or Stopper()
    workers = _Workers(start_worker, stopper)
    directory.keep_data_items(plan.facts.items)
    with run_log.kept(plan, directory, listen) as listen, workers.closing(), stopper.passing_to(workers.stop):
        if any(stage.selected and stage.action in planned.TRAINS for stage in plan.stages):
            _record_remarks(plan, directory, listen)
            _check_model(plan, directory, workers, listen)
        for number, stage in enumerate(plan.stages):
            if stage.selected:
                left = [later for later in plan.stages[number + 1 :] if later.selected and later.action != planned.SKIP]
                _Stage(plan, directory, workers, listen, more_jobs=bool(left)).carry_out(stage.id)
    return EXIT_DONE


def measure_speed(
    loaded: load.Loaded,
    stages: Sequence[str],
    directory: RunDirectory,
    start_worker: StartWorker,
    listen: Listener,
    stopper: Stopper | None = None,
) -> dict[str, Speed]:
    """Measures how fast stages are carried out here, in a worker; call it inside `directory.writing()`.

    Args:
      loaded: the pipeline.
      stages: ids of its stages.
      directory: in its cache the job file lies.
      start_worker, listen, stopper: as for `run`.

    Returns:
      Stage id -> speed.

    Raises:
      StagetrainError: a stage cannot be built or carried out, or its process died.
      Interrupted: it was asked to stop.
    """
    stopper = stopper or Stopper()
    workers = _Workers(start_worker, stopper)
    job_file = directory.cache / 'speed.job.json'
    with explained(directory.cache):
        directory.cache.mkdir(exist_ok=True)
        job = SpeedJob(str(directory.path.absolute()), loaded.resolved, tuple(stages), flags=flags.given())
        files.write_json(job_file, job.to_json())
    listen(Measuring(None, tuple(stages)))
    with workers.closing(), stopper.passing_to(workers.stop):
        found = workers.carry_out(job_file, lambda event: None, lambda: stopping.MEASURING)
    with explained(directory.cache):
        for path in directory.cache.glob('speed.job.*'):
            path.unlink()
    return {stage_id: Speed(**value) for stage_id, value in found.items()}


class _Workers:
    """The worker at work and the one that waits; signals go to the one at work."""

    def __init__(self, start_worker: StartWorker, stopper: Stopper) -> None:
        self._start = start_worker
        self._present: Worker | None = None
        self._next: Worker | None = None
        self._stopper = stopper
        self._work: Callable[[], Work] = lambda: stopping.BETWEEN_JOBS

    @contextlib.contextmanager
    def closing(self) -> Iterator[None]:
        """Lets all workers go at the end."""
        try:
            yield
        finally:
            for worker in (self._present, self._next):
                if worker is not None:
                    worker.close()

    def prepare_next(self) -> None:
        """Starts a worker that imports and waits, unless one waits already."""
        if self._next is None and not self._stopper.is_asked:
            self._next = self._start()

    def carry_out(
        self, job_file: pathlib.Path, emit: Emit, work: Callable[[], Work], *, is_short: bool = False
    ) -> dict[str, Any]:
        """Carries out one job in a worker of its own; beside a short one the next worker is started at once.

        Args:
          job_file: what is to be done.
          emit: told what the worker says meanwhile.
          work: asked what stopping it does, when a signal comes.
          is_short: whether the job takes no longer than a worker takes to start.
        """
        self.stop_if_asked()
        worker, self._next = self._next or self._start(), None
        self._present, self._work = worker, work
        try:
            self.stop_if_asked()
            if is_short:
                self.prepare_next()
            return worker.carry_out(job_file, emit)
        finally:
            self._present, self._work = None, lambda: stopping.BETWEEN_JOBS
            worker.close()

    def stop_if_asked(self) -> None:
        """Raises `Interrupted` when a signal came between two jobs."""
        if self._stopper.is_asked:
            raise Interrupted('stopped before the next stage began; the same command goes on from here')

    def stop(self, meaning: str, say: Callable[[str], None]) -> None:
        """Has the worker at work save, or ends it, as `meaning` says; first says what is done."""
        work, worker = self._work(), self._present
        if meaning == stopping.SAVE:
            say(str(work))
        elif meaning == stopping.END and worker is not None:
            say(stopping.ENDING)
        if worker is not None and meaning == stopping.SAVE and work.saves:
            worker.interrupt()
        elif worker is not None and meaning != stopping.SAME:
            worker.kill()


def _record_remarks(plan: Plan, directory: RunDirectory, listen: Listener) -> None:
    for remark in plan.remarks():
        with explained(directory.path):
            directory.ledger.record('note', None, remark)
        listen(Remark(None, remark))


def _check_model(plan: Plan, directory: RunDirectory, workers: _Workers, listen: Listener) -> None:
    """Has every stage's scopes and sources held against the model's real names: a slip in the last stage shows now.

    That is done once for each config and content of its sources.

    Raises:
      BadInput: a scope of some stage matches nothing, a stage has nothing to train, or a source does not fit.
    """
    asked = files.digest_of(
        {'pipeline': plan.loaded.resolved, 'versions': dict(plan.facts.versions), 'sources': dict(plan.facts.sources)}
    )
    checked = directory.cache / 'checked'
    with contextlib.suppress(FileNotFoundError, DamagedFile):
        if files.read_sealed_json(checked) == asked:
            return
    listen(Checking(None))
    job_file = directory.cache / 'check.job.json'
    with explained(directory.cache):
        directory.cache.mkdir(exist_ok=True)
        files.write_json(job_file, job_making.check_job(plan, directory).to_json())
    try:
        workers.carry_out(job_file, lambda event: None, lambda: stopping.CHECKING, is_short=True)
    except StagetrainError as error:
        with explained(directory.path):
            directory.ledger.record('interrupted' if isinstance(error, Interrupted) else 'failed', None, str(error))
        raise
    with explained(directory.cache):
        files.write_sealed_json(checked, asked)
        for path in directory.cache.glob('check.job.*'):
            path.unlink()


@dataclasses.dataclass(frozen=True)
class _Job:
    """One job file to be carried out."""

    name: str
    """What ledger and console call it."""
    file: pathlib.Path
    reason: str
    fingerprint: str
    work: Callable[[str, int, int | None], Work]
    """Name, steps done and steps (None before the first report) -> what stopping it does."""
    is_followed: bool
    """Whether another job comes behind it, so that a worker for that may start."""


@dataclasses.dataclass
class _Progress:
    """The last report of a job."""

    step: int = 0
    num_steps: int | None = None
    """None before the first report."""


@dataclasses.dataclass(frozen=True)
class _Stage:
    """What carrying out one stage needs."""

    plan: Plan
    directory: RunDirectory
    workers: _Workers
    listen: Listener
    more_jobs: bool

    def carry_out(self, stage_id: str) -> None:
        """Decides again, now that all sources are there, and does what was decided."""
        self.workers.stop_if_asked()
        stage = planning.decide(self.plan, stage_id, self.directory.state())
        if stage.action == planned.SKIP:
            self._record('skipped', stage_id, str(stage.reason))
            self.listen(Skipped(stage_id, str(stage.reason)))
        else:
            for artefact in stage.artefacts:
                if artefact.action == planned.RUN:
                    self._make(stage, artefact)
            self._train(stage)
        self._pass_gate(stage)

    def _train(self, stage: StagePlan) -> None:
        assert stage.fingerprint is not None
        folder = self._begin(stage)
        self._warn(stage)
        self._write_job(stage, folder, folder)
        job = _Job(stage.id, folder / run_files.JOB, str(stage.reason), stage.fingerprint, stopping.training, self.more_jobs)
        answer = self._carry_out(job)
        place = self.directory.stage(stage.id)
        self._write_job(stage, folder, place)
        renamed = _renaming(*(path.relative_to(self.directory.path).as_posix() for path in (folder, place)))
        digests = {renamed(name): digest for name, digest in self.directory.file_digests(folder).items()}
        marks = {'mixed_versions': stage.mixed_versions, 'extended': stage.extended}
        result = _in_its_place(cast(StageResult, answer), renamed)
        if stage.extended:
            result['extended'] = list(stage.extended)
        entry = Entry(stage.fingerprint, stage.parts, result, utc_now(), stage.evaluation_parts, digests, **marks)
        self.directory.finish_stage(stage.id, entry, folder)

    def _begin(self, stage: StagePlan) -> pathlib.Path:
        """Makes the folder in which a stage works, as its action says; returns it."""
        if stage.action == planned.RUN:
            self.directory.begin_stage(stage.id)
        elif stage.action == planned.EXTEND:
            self.directory.extend_stage(stage.id, stage.step, stage.node.stage.train.validation_interval)
        elif stage.action == planned.RESUME:
            self.directory.go_back(stage.id, stage.step)
        is_evaluated = stage.action == planned.EVALUATE
        folder = self.directory.stage(stage.id) if is_evaluated else self.directory.work(stage.id)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in _STALE_EVALUATION if is_evaluated else ():
                (folder / name).unlink(missing_ok=True)
        return folder

    def _write_job(self, stage: StagePlan, folder: pathlib.Path, place: pathlib.Path) -> None:
        with explained(folder):
            files.write_json(folder / run_files.JOB, job_making.stage_job(self.plan, stage, self.directory, place).to_json())

    def _warn(self, stage: StagePlan) -> None:
        """Says, and keeps, why the bits will not be those of an undisturbed run."""
        if stage.mixed_versions:
            text = (
                f'{fingerprint.mixed(stage.mixed_versions)}. Equal bits with an undisturbed run are no longer promised, and '
                f'pipeline.lock, status and verify go on saying so. For one version throughout: --force {stage.id}'
            )
            self._record('note', stage.id, text, {'mixed_versions': list(stage.mixed_versions)})
            self.listen(Note(stage.id, text, is_warning=True))
        if stage.extended:
            text = (
                f'{actions.extended(stage.extended)}. Its bits are not those of an undisturbed run, and pipeline.lock, status '
                f'and verify go on saying so. For one schedule throughout: --force {stage.id}'
            )
            self._record('note', stage.id, text, {'extended': list(stage.extended)})
            self.listen(Note(stage.id, text, is_warning=True))

    def _pass_gate(self, stage: StagePlan) -> None:
        """Stops here when the trained stage does not keep what it `require`s.

        Raises:
          StageFailed: a bound does not hold; the stage itself is finished and stays up to date.
        """
        verdicts = gates.judge(stage.node.stage.require, self.directory.lock().stages[stage.id].result.get('metrics') or {})
        lacking = gates.unmet(verdicts)
        if lacking:
            text = (
                f'stage {stage.id}: {lacking}. What follows was not started. Train the stage longer or otherwise; or relax its '
                '`require` and run again, which goes on without training it anew'
            )
            self._record('failed', stage.id, text)
            raise StageFailed(text)
        for verdict in verdicts:
            self._record('note', stage.id, str(verdict))
            self.listen(Note(stage.id, str(verdict)))

    def _make(self, stage: StagePlan, artefact: ArtefactPlan) -> None:
        kind, key = artefact.kind, artefact.fingerprint
        assert key is not None
        folder = self.directory.store(kind) / key
        job_file = folder.with_name(f'{key}.job.json')
        with explained(job_file):
            job_file.parent.mkdir(parents=True, exist_ok=True)
            files.remove_folder(folder)  # Committed just before a crash, or damaged.
            files.write_json(job_file, job_making.artefact_job(self.plan, stage, artefact, self.directory).to_json())
        name = f'{kind} of {artefact.from_stage}'
        job = _Job(name, job_file, str(artefact.reason), key, stopping.making, is_followed=True)
        result = cast(ArtefactResult, self._carry_out(job))
        digests = self.directory.file_digests(job_file, run_files.log_of(job_file), folder)
        entry = Entry(key, artefact.parts, result, utc_now(), files=digests)
        self.directory.write_lock(self.directory.lock().with_artefact(kind, key, entry))

    def _carry_out(self, job: _Job) -> dict[str, Any]:
        """Carries out one job and keeps the ledger."""
        self._record('started', job.name, job.reason, {'fingerprint': job.fingerprint})
        self.listen(Started(job.name, job.reason))
        started, progress = time.monotonic(), _Progress()
        try:
            result = self.workers.carry_out(
                job.file,
                lambda message: self._receive(job, message, progress),
                lambda: job.work(job.name, progress.step, progress.num_steps),
            )
        except StagetrainError as error:
            was_interrupted = isinstance(error, Interrupted)
            self._record('interrupted' if was_interrupted else 'failed', job.name, str(error), {'step': progress.step})
            self.listen(Ended(job.name, progress.step, str(error), was_interrupted))
            raise
        seconds = round(time.monotonic() - started, 3)
        self._record('finished', job.name, f'in {seconds:.1f} s', {'seconds': seconds, 'fingerprint': job.fingerprint})
        self.listen(Finished(job.name, seconds, result))
        return result

    def _receive(self, job: _Job, message: Message, progress: _Progress) -> None:
        if message['event'] == 'note':
            self._record('note', job.name, message['text'])
            self.listen(Note(job.name, message['text']))
        elif message['event'] == 'progress':
            progress.step, progress.num_steps = message['step'], message['num_steps']
            self.listen(Progress(job.name, message['step'], message['num_steps'], message['values']))
            if job.is_followed and message['step'] * 2 >= message['num_steps']:
                self.workers.prepare_next()

    def _record(self, event: str, job: str, text: str, details: Mapping[str, Any] | None = None) -> None:
        self.directory.require_still_there()
        with explained(self.directory.path):
            self.directory.ledger.record(event, job, text, details)


def _renaming(old: str, new: str) -> Callable[[str], str]:
    """Returns what renames paths below one folder to where they will be; all are relative to the run directory."""
    return lambda name: f'{new}/{name.removeprefix(f"{old}/")}' if name.startswith(f'{old}/') else name


def _in_its_place(result: StageResult, renamed: Callable[[str], str]) -> StageResult:
    """Returns a stage's result with its checkpoints where they will be."""
    moved: StageResult = {**result, 'checkpoint': renamed(result['checkpoint'])}
    if best := result.get('best'):
        moved['best'] = {**best, 'checkpoint': renamed(best['checkpoint'])}
    return moved
