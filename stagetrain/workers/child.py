"""The child process: imports TensorFlow, waits for one job file's path on its standard input, carries it out, and ends.

    python -m stagetrain.workers.child        # started by `stagetrain.workers.process`, never by hand

It answers with JSON lines on the file descriptor that STAGETRAIN_EVENTS_FD names. SIGTERM, SIGINT and the end of its standard
input (the parent is gone) all mean: save and stop. What it prints and logs goes to the job file's `.log`; the parent
also gets the lines of the log that flags such as `--verbosity` show to the person.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import pathlib
import select
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import IO, Any

from absl import logging as absl_logging

import stagetrain
from stagetrain import flags, logs
from stagetrain.config import load, specs
from stagetrain.errors import EXIT_DONE, EXIT_FAILED, BadInput, Interrupted, StagetrainError
from stagetrain.pipeline import children, events, run_files, rundir
from stagetrain.pipeline.answers import DoneMessage, Emit, FailedMessage, LogMessage, Message, ShouldStop
from stagetrain.pipeline.jobs import Job, WorkJob, read_job
from stagetrain.workers.environment import prepare_environment

_log = absl_logging.get_absl_logger()
EVENTS_VARIABLE = 'STAGETRAIN_EVENTS_FD'
IMPLEMENTATIONS = {
    'train': 'stagetrain.training.kinds:carry_out_stage',
    'artefact': 'stagetrain.stores.making:make_artefact',
    'check': 'stagetrain.training.variables:check_model',
    'speed': 'stagetrain.training.speed:measure',
}


def carry_out(
    job: Job, emit: Emit, should_stop: ShouldStop, implementations: Mapping[str, str] = IMPLEMENTATIONS
) -> dict[str, Any]:
    """Carries out a job in this process and returns its result.

    Args:
      job: what is to be done.
      emit: takes progress and notes.
      should_stop: whether to save and stop; asked between steps.
      implementations: kind of job -> `package.module:function`.

    Raises:
      StagetrainError: what the job raises.
    """
    load.import_resolved_plugins(job.pipeline)  # They may define flags.
    flags.take(job.flags)
    with _logged(job, emit) as tell:
        return dict(specs.load_implementation(implementations[job.kind])(job, tell, should_stop))


@contextlib.contextmanager
def _logged(job: Job, emit: Emit) -> Iterator[Emit]:
    """Gives an `emit` that also logs; the block's begin and end are logged too."""
    with contextlib.suppress(BadInput):  # The parent could write there when it began.
        logs.keep_in_log_dir('stagetrain_child')
    name, version = job.id if isinstance(job, WorkJob) else 'all stages', stagetrain.__version__
    given = ' '.join(job.flags) or 'none'
    _log.info('%s: job %s, process %d, stagetrain %s; flags: %s', name, job.kind, os.getpid(), version, given)

    def tell(message: Message) -> None:
        _log.info('%s', _described(name, message))
        emit(message)

    try:
        yield tell
    except StagetrainError as error:
        _log.log(logging.INFO if isinstance(error, Interrupted) else logging.ERROR, '%s: %s', name, error)
        raise
    _log.info('%s: job %s is done', name, job.kind)


def _described(name: str, message: Message) -> str | None:
    if message['event'] == 'progress':
        return events.described(events.Progress(name, message['step'], message['num_steps'], message['values']))
    return events.described(events.Note(name, message['text']))


class _Parent:
    """What the parent is told, by any thread: one JSON line for each message."""

    def __init__(self, pipe: IO[str]) -> None:
        self._pipe, self._lock = pipe, threading.Lock()
        self.should_stop = threading.Event()
        """Set when the parent is gone, or a signal came."""

    def emit(self, message: Message | LogMessage | DoneMessage | FailedMessage) -> None:
        """Sends a message."""
        try:
            with self._lock:
                self._pipe.write(json.dumps(message, default=_plain) + '\n')
                self._pipe.flush()
        except BrokenPipeError:
            self.should_stop.set()

    def show(self, line: str) -> None:
        """Has the parent show a line of the log to the person."""
        self.emit({'event': 'log', 'text': line})


def main(implementations: Mapping[str, str] = IMPLEMENTATIONS) -> int:
    """Carries out one job and returns the exit code."""
    pipe = os.fdopen(int(os.environ.pop(EVENTS_VARIABLE)), 'w', encoding='utf-8')
    os.set_inheritable(pipe.fileno(), False)  # A grandchild that held it would hide our death from the parent.
    parent = _Parent(pipe)
    with logs.of_process(parent.show, sys.stderr.fileno()):
        return _wait_and_answer(parent, implementations)


def _wait_and_answer(parent: _Parent, implementations: Mapping[str, str]) -> int:
    prepare_environment()
    for implementation in implementations.values():
        specs.load_implementation(implementation)
    gc.freeze()  # 430,000 objects of TensorFlow's imports: no collection need walk through them from here on.
    line = sys.stdin.readline()
    if not line:
        return EXIT_DONE
    job_file = pathlib.Path(json.loads(line))
    _print_to(run_files.log_of(job_file))
    return _answer(job_file, parent, implementations)


def _answer(job_file: pathlib.Path, parent: _Parent, implementations: Mapping[str, str]) -> int:
    emit, stop = parent.emit, parent.should_stop
    try:
        job = read_job(job_file)
        with children.attending(pathlib.Path(job.run_dir)):
            # Asked while the lock is held: a next parent waits for that, so a parent that lives now is ours.
            if select.select([0], [], [], 0)[0]:
                raise Interrupted('the parent was gone before the job began')
            _set_when_told_to_stop(stop)
            result = _with_disk_errors_explained(job, emit, stop, implementations)
        emit({'event': 'done', 'result': result})
        return EXIT_DONE
    except StagetrainError as error:
        emit({'event': 'failed', 'message': str(error), 'exit_code': error.exit_code})
        return error.exit_code
    except Exception as error:  # A defect of stagetrain or of a library: its traceback belongs into the log.
        traceback.print_exc()
        message = f'{type(error).__name__}: {error}. The traceback is in {run_files.log_of(job_file)}'
        emit({'event': 'failed', 'message': message, 'exit_code': EXIT_FAILED})
        return EXIT_FAILED


def _with_disk_errors_explained(
    job: Job, emit: Emit, stop: threading.Event, implementations: Mapping[str, str]
) -> dict[str, Any]:
    try:
        return carry_out(job, emit, stop.is_set, implementations)
    except OSError as error:
        if error.errno not in rundir.WRITE_ERRORS:
            raise
        with rundir.explained(pathlib.Path(job.run_dir)):
            raise


def _set_when_told_to_stop(stop: threading.Event) -> None:
    """Has SIGTERM, SIGINT and the end of standard input set a flag."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            while os.read(0, 1):
                pass
        stop.set()

    threading.Thread(target=watch, daemon=True).start()


def _print_to(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _plain(value: Any) -> Any:
    """NumPy's and TensorFlow's numbers as Python's."""
    return value.item() if hasattr(value, 'item') else value.numpy().item()


if __name__ == '__main__':
    sys.exit(main())
