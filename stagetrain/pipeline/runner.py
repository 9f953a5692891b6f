"""Carries a plan out: one child process per job, with a ledger line and a lock entry for each.

    exit_code = run(plan, directory, start_worker, console)

The runner knows nothing of TensorFlow or of training: `start_worker` gives it something that carries out a job file. A worker is
started for the next job while the present one is in its second half, so that its imports cost no time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Protocol

import rich.console
import rich.progress
import rich.text
from rich.markup import escape

from stagetrain import files
from stagetrain.errors import EXIT_DONE, DamagedFile, Interrupted, StageFailed, StagetrainError
from stagetrain.pipeline import fingerprint, gates, job_making, stopping
from stagetrain.pipeline import plan as planning
from stagetrain.pipeline.ledger import utc_now
from stagetrain.pipeline.lock import Entry
from stagetrain.pipeline.plan import ArtefactPlan, Plan, StagePlan
from stagetrain.pipeline.rundir import RunDirectory, explained
from stagetrain.pipeline.stopping import Stop, Work

Event = Mapping[str, Any]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STALE_EVALUATION = ('evaluation.json', 'detections.json', 'images.json')


class Worker(Protocol):
    """Something that carries out one job: a child process, or this process itself."""

    def carry_out(self, job_file: pathlib.Path, emit: Callable[[Event], None]) -> dict[str, Any]:
        """Returns the job's result; raises `StagetrainError` when it failed, `Interrupted` when it saved and stopped."""

    def interrupt(self) -> None:
        """Asks it to save and stop; called from a signal handler."""

    def kill(self) -> None:
        """Ends it at once; called from a signal handler."""

    def close(self) -> None:
        """Lets it go, whether it was used or not."""


StartWorker = Callable[[], Worker]


def run(plan: Plan, directory: RunDirectory, start_worker: StartWorker, console: rich.console.Console) -> int:
    """Carries out the selected stages of a plan, in order; call it inside `directory.writing()`.

    Returns:
      0; every other end is an exception that carries its exit code.

    Raises:
      StageFailed: a stage failed or its process died; the ledger says how, and the same command goes on from its last checkpoint.
        Or a trained stage does not keep what it `require`s.
      Interrupted: Ctrl-C or SIGTERM; the stage was saved.
      ConfigError: a stage turned out to be half-done under another config.
      RunDirectoryError: the disk is full or read-only.
    """
    workers = _Workers(start_worker)
    directory.keep_data_items(plan.facts.items)
    with workers.receiving_signals():
        if any(stage.selected and stage.action in (planning.RUN, planning.RESUME) for stage in plan.stages):
            _record_remarks(plan, directory, console)
            _check_model(plan, directory, workers, console)
        for number, stage in enumerate(plan.stages):
            if stage.selected:
                left = [later for later in plan.stages[number + 1 :] if later.selected and later.action != planning.SKIP]
                _Stage(plan, directory, workers, console, more_jobs=bool(left)).carry_out(stage.id)
    return EXIT_DONE


class _Workers:
    """The worker at work and the one that waits; signals go to the one at work."""

    def __init__(self, start_worker: StartWorker) -> None:
        self._start = start_worker
        self._present: Worker | None = None
        self._next: Worker | None = None
        self._stop = Stop()
        self._work: Callable[[], Work] = lambda: stopping.BETWEEN_JOBS

    @contextlib.contextmanager
    def receiving_signals(self) -> Iterator[None]:
        """Has the first Ctrl-C or SIGTERM make the worker save, and a second one end it at once; says each time what happens."""
        former = {number: signal.signal(number, self._receive) for number in _SIGNALS}
        try:
            yield
        finally:
            for worker in (self._present, self._next):
                if worker is not None:
                    worker.close()
            for number, handler in former.items():
                signal.signal(number, handler)

    def prepare_next(self) -> None:
        """Starts a worker that imports and waits, unless one waits already."""
        if self._next is None and not self._stop.is_asked:
            self._next = self._start()

    def carry_out(
        self, job_file: pathlib.Path, emit: Callable[[Event], None], work: Callable[[], Work], *, is_short: bool = False
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
        if self._stop.is_asked:
            raise Interrupted('stopped before the next stage began; the same command goes on from here')

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        meaning, work, worker = self._stop.ask(), self._work(), self._present
        if meaning == stopping.SAVE:
            stopping.say(str(work))
        elif meaning == stopping.END and worker is not None:
            stopping.say(stopping.ENDING)
        if worker is not None and meaning == stopping.SAVE and work.saves:
            worker.interrupt()
        elif worker is not None and meaning != stopping.SAME:
            worker.kill()


def _record_remarks(plan: Plan, directory: RunDirectory, console: rich.console.Console) -> None:
    for remark in plan.remarks():
        with explained(directory.path):
            directory.ledger.record('note', None, remark)
        console.print(rich.text.Text(remark), soft_wrap=True)


def _check_model(plan: Plan, directory: RunDirectory, workers: _Workers, console: rich.console.Console) -> None:
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
    console.print('checking all stages against the names of the variables')
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


@dataclasses.dataclass(frozen=True)
class _Stage:
    """What carrying out one stage needs."""

    plan: Plan
    directory: RunDirectory
    workers: _Workers
    console: rich.console.Console
    more_jobs: bool

    def carry_out(self, stage_id: str) -> None:
        """Decides again, now that all sources are there, and does what was decided."""
        self.workers.stop_if_asked()
        stage = planning.decide(self.plan, stage_id, self.directory.state())
        if stage.action == planning.SKIP:
            self._record('skipped', stage_id, stage.reason)
            self._say(f'{stage_id}: {stage.reason}')
        else:
            for artefact in stage.artefacts:
                if artefact.action == planning.RUN:
                    self._make(stage, artefact)
            self._train(stage)
        self._pass_gate(stage)

    def _train(self, stage: StagePlan) -> None:
        folder = self.directory.stage(stage.id)
        if stage.action == planning.RUN:
            self.directory.forget_stage(stage.id)
        if stage.mixed_versions:
            self._warn_of_mixed_versions(stage)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in _STALE_EVALUATION if stage.action == planning.EVALUATE else ():
                (folder / name).unlink(missing_ok=True)
            files.write_json(folder / 'job.json', job_making.stage_job(self.plan, stage, self.directory).to_json())
        assert stage.fingerprint is not None
        job = _Job(stage.id, folder / 'job.json', stage.reason, stage.fingerprint, stopping.training, self.more_jobs)
        result = self._carry_out(job)
        digests = self.directory.file_digests(folder)
        entry = Entry(stage.fingerprint, stage.parts, result, utc_now(), stage.evaluation_parts, digests, stage.mixed_versions)
        self.directory.write_lock(self.directory.lock().with_stage(stage.id, entry))

    def _warn_of_mixed_versions(self, stage: StagePlan) -> None:
        text = (
            f'{fingerprint.mixed(stage.mixed_versions)}. Equal bits with an undisturbed run are no longer promised, and '
            f'pipeline.lock, status and verify go on saying so. For one version throughout: --force {stage.id}'
        )
        self._record('note', stage.id, text, {'mixed_versions': list(stage.mixed_versions)})
        self.console.print(rich.text.Text(f'{stage.id}: WARNING: {text}', 'bold yellow'), soft_wrap=True)

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
            self._say(f'{stage.id}: {verdict}')

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
        result = self._carry_out(_Job(name, job_file, artefact.reason, key, stopping.making, is_followed=True))
        digests = self.directory.file_digests(job_file, job_file.with_suffix('.log'), folder)
        entry = Entry(key, artefact.parts, result, utc_now(), files=digests)
        self.directory.write_lock(self.directory.lock().with_artefact(kind, key, entry))

    def _carry_out(self, job: _Job) -> dict[str, Any]:
        """Carries out one job and keeps the ledger."""
        self._record('started', job.name, job.reason, {'fingerprint': job.fingerprint})
        self._say(f'{job.name}: {job.reason}')
        started = time.monotonic()
        progress = _Progress(self.console, job.name)
        try:
            with progress:
                result = self.workers.carry_out(
                    job.file,
                    lambda event: self._receive(job, event, progress),
                    lambda: job.work(job.name, progress.step, progress.num_steps),
                )
        except Interrupted as error:
            self._record('interrupted', job.name, str(error), {'step': progress.step})
            raise
        except StagetrainError as error:
            self._record('failed', job.name, str(error), {'step': progress.step})
            raise
        seconds = round(time.monotonic() - started, 3)
        self._record('finished', job.name, f'in {seconds:.1f} s', {'seconds': seconds, 'fingerprint': job.fingerprint})
        self._say(f'{job.name}: finished in {seconds:.1f} s{_metrics(result)}')
        return result

    def _receive(self, job: _Job, event: Event, progress: _Progress) -> None:
        if event['event'] == 'note':
            self._record('note', job.name, event['text'])
            self._say(f'{job.name}: {event["text"]}')
        elif event['event'] == 'progress':
            progress.show(event)
            if job.is_followed and event['step'] * 2 >= event['num_steps']:
                self.workers.prepare_next()

    def _record(self, event: str, job: str, text: str, details: Mapping[str, Any] | None = None) -> None:
        self.directory.require_still_there()
        with explained(self.directory.path):
            self.directory.ledger.record(event, job, text, details)

    def _say(self, text: str) -> None:
        self.console.print(rich.text.Text(text), soft_wrap=True)


def _metrics(result: Mapping[str, Any]) -> str:
    shown = {name: (result.get('metrics') or {}).get(name) for name in ('AP', 'AP50', 'recall_0.5')}
    return ''.join(f', {name} {value:.3f}' for name, value in shown.items() if value is not None)


def _number(value: float | None) -> str:
    return 'not measured' if value is None else f'{value:.4g}'


class _Progress:
    """Steps and losses: a bar on a terminal, a line for every tenth elsewhere."""

    def __init__(self, console: rich.console.Console, name: str) -> None:
        self._console, self._name = console, name
        self.step = 0
        self.num_steps: int | None = None
        """None before the first report."""
        self._tenth = -1
        columns = (
            rich.progress.TextColumn('{task.description}'),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn('{task.fields[values]}'),
        )
        self._bar = rich.progress.Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(escape(name), total=None, values='')

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Shows a progress event."""
        self.step, self.num_steps = event['step'], event['num_steps']
        values = ' '.join(f'{key} {_number(value)}' for key, value in (event.get('values') or {}).items())
        self._bar.update(self._task, completed=self.step, total=event['num_steps'], values=escape(values))
        tenth = self.step * 10 // max(event['num_steps'], 1)
        if not self._console.is_terminal and tenth != self._tenth:
            self._tenth = tenth
            self._console.print(rich.text.Text(f'{self._name}: {self.step}/{event["num_steps"]} {values}'), soft_wrap=True)
