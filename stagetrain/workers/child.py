"""The child process: imports TensorFlow, waits for one job file's path on its standard input, carries it out, and ends.

    python -m stagetrain.workers.child        # started by `stagetrain.workers.process`, never by hand

It answers with JSON lines on the file descriptor that STAGETRAIN_EVENTS_FD names. SIGTERM, SIGINT and the end of its standard
input (the parent is gone) all mean: save and stop. What it prints goes to the job file's `.log`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pathlib
import select
import signal
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import IO, Any

from stagetrain.config import specs
from stagetrain.errors import EXIT_DONE, EXIT_FAILED, Interrupted, StagetrainError
from stagetrain.pipeline import children, run_files, rundir
from stagetrain.pipeline.answers import DoneMessage, Emit, FailedMessage, Message, ShouldStop
from stagetrain.pipeline.jobs import Job, read_job
from stagetrain.workers.environment import prepare_environment

EVENTS_VARIABLE = 'STAGETRAIN_EVENTS_FD'
IMPLEMENTATIONS = {
    'train': 'stagetrain.training.stage:train_stage',
    'artefact': 'stagetrain.stores.making:make_artefact',
    'check': 'stagetrain.training.variables:check_model',
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
    return dict(specs.load_implementation(implementations[job.kind])(job, emit, should_stop))


def main(implementations: Mapping[str, str] = IMPLEMENTATIONS) -> int:
    """Carries out one job and returns the exit code."""
    events = os.fdopen(int(os.environ.pop(EVENTS_VARIABLE)), 'w', encoding='utf-8')
    os.set_inheritable(events.fileno(), False)  # A grandchild that held it would hide our death from the parent.
    prepare_environment()
    for implementation in implementations.values():
        specs.load_implementation(implementation)
    gc.freeze()  # 430,000 objects of TensorFlow's imports: no collection need walk through them from here on.
    line = sys.stdin.readline()
    if not line:
        return EXIT_DONE
    job_file = pathlib.Path(json.loads(line))
    _print_to(run_files.log_of(job_file))
    return _answer(job_file, events, implementations)


def _answer(job_file: pathlib.Path, events: IO[str], implementations: Mapping[str, str]) -> int:
    stop = threading.Event()

    def emit(event: Message | DoneMessage | FailedMessage) -> None:
        try:
            events.write(json.dumps(event, default=_plain) + '\n')
            events.flush()
        except BrokenPipeError:
            stop.set()

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
