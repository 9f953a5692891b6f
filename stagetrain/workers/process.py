"""Child processes that carry out one job each, and the same within this process for debuggers.

    worker = start_child(WORKER_COMMAND)
    result = worker.carry_out(run / 'stages' / 'rpn_1' / 'job.json', emit=print)

A child is in a session of its own, so that Ctrl-C in a terminal reaches the parent alone, which passes it on once. When the
parent dies, the child sees the end of its standard input, saves and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

from absl import logging as absl_logging

from stagetrain import logs
from stagetrain.config import onednn
from stagetrain.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, BadInput, Interrupted, StageFailed, StagetrainError
from stagetrain.pipeline import jobs, run_files
from stagetrain.pipeline.answers import Emit, FailedMessage
from stagetrain.workers import child, memory_kills, quiet

WORKER_COMMAND = (sys.executable, '-m', 'stagetrain.workers.child')
MEMORY = {'MALLOC_ARENA_MAX': '2'}
"""glibc's allocator reads this when a process starts. By default each of TensorFlow's threads gets a heap of its own, and what
one frees the others cannot use: 3 % of a stage's memory. A value that the user has set wins."""
LOG_ENCODING = 'utf-8:backslashreplace'
"""What a child prints goes into our log files, not to the terminal, whose encoding may lack letters."""
_SECONDS_TO_SAVE = 60
_SECONDS_TO_EXIT = 10
_NUM_LAST_WORDS = 12
_ENDED_AT_ONCE = 'ended at once; the same command goes on from the last checkpoint'


class ChildWorker:
    """A child process that waits for a job file's path on its standard input."""

    def __init__(self, process: subprocess.Popen[bytes], events: IO[str], early_output: IO[bytes]) -> None:
        self._process = process
        self._events = events
        self._early_output = early_output
        self._job_file: pathlib.Path | None = None
        self._answered = False
        self._interrupted = False
        self._memory_kills = memory_kills.num_memory_kills()

    def carry_out(self, job_file: pathlib.Path, emit: Emit) -> dict[str, Any]:
        """Sends the job and passes on what the child says until it is done.

        Raises:
          StagetrainError: the job failed; of the kind that the child's exit code tells.
          StageFailed: the process died.
          Interrupted: it saved and stopped, or died of our own signal.
        """
        self._job_file = job_file
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # It died while it waited: its exit code tells how, below.
            self._process.stdin.write(f'{json.dumps(str(job_file))}\n'.encode())  # A path may hold a line feed.
            self._process.stdin.flush()
        for event in map(_parsed, self._events):
            if event['event'] == 'log':
                logs.show(event['text'])
                continue
            self._answered = event['event'] in ('done', 'failed')
            if event['event'] == 'done':
                return dict(event['result'])
            if event['event'] == 'failed':
                raise _failure(event)
            emit(event)
        raise self._death(self._process.wait())

    def interrupt(self) -> None:
        """Asks the child to save and stop."""
        self._interrupted = True
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the child at once; the next run goes on from its last checkpoint."""
        self._interrupted = True
        self._send(signal.SIGKILL)

    def close(self) -> None:
        """Ends the child: one that waits at once, one that is at work after it has saved."""
        assert self._process.stdin is not None
        if self._job_file is None:
            self._send(signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_SECONDS_TO_EXIT if self._answered else _SECONDS_TO_SAVE)
        except subprocess.TimeoutExpired:
            self._send(signal.SIGKILL)
            self._process.wait()
        self._events.close()
        self._early_output.close()

    def _send(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def _death(self, code: int) -> StagetrainError:
        if self._interrupted:
            return Interrupted(_ENDED_AT_ONCE)
        if code < 0:
            return StageFailed(f'{self._job_file}: {_killed(signal.Signals(-code), self._memory_kills)}')
        return StageFailed(
            f'{self._job_file}: the process ended with exit code {code} before it gave a result; {self._last_words()}'
        )

    def _last_words(self) -> str:
        log = run_files.log_of(self._job_file) if self._job_file else None
        self._early_output.seek(0)
        text = self._early_output.read() + (log.read_bytes() if log and log.is_file() else b'')
        lines = [line for line in text.decode(errors='replace').strip().splitlines() if not _is_information(line)][
            -_NUM_LAST_WORDS:
        ]
        return 'its last words:\n  ' + '\n  '.join(lines) if lines else 'it said nothing'


class InProcessWorker:
    """Carries jobs out in this process: for debuggers and quick tests. Memory grows with every stage."""

    def __init__(self, implementations: Mapping[str, str] = child.IMPLEMENTATIONS) -> None:
        self._implementations = implementations
        self._stop = False

    def carry_out(self, job_file: pathlib.Path, emit: Emit) -> dict[str, Any]:
        """Carries out a job file.

        Raises:
          StagetrainError: what the job raises.
          Interrupted: it saved and stopped, or was left where it is.
        """
        onednn.require_decided(os.environ)
        with quiet.computing(run_files.log_of(job_file), keep=True):
            try:
                return child.carry_out(jobs.read_job(job_file), emit, lambda: self._stop, self._implementations)
            except KeyboardInterrupt as error:
                raise Interrupted(_ENDED_AT_ONCE) from error

    def interrupt(self) -> None:
        """Asks the job to save and stop."""
        self._stop = True

    def kill(self) -> None:
        """Leaves the job where it is: no code takes this exception for an error that it knows."""
        raise KeyboardInterrupt

    def close(self) -> None:
        """Nothing is held."""


def start_child(command: Sequence[str] = WORKER_COMMAND, environ: Mapping[str, str] | None = None) -> ChildWorker:
    """Starts a child that imports what it needs and then waits for a job.

    Args:
      command: the child's program; tests give another one that speaks the same protocol.
      environ: its environment; None for this process's own.
    """
    reading, writing = os.pipe()
    early_output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker.
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=early_output,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
            start_new_session=True,
            env={
                **MEMORY,
                **(os.environ if environ is None else environ),
                'PYTHONIOENCODING': LOG_ENCODING,
                child.EVENTS_VARIABLE: str(writing),
            },
        )
    finally:
        os.close(writing)
    return ChildWorker(process, os.fdopen(reading, encoding='utf-8'), early_output)


def starter(in_process: bool) -> Callable[[], ChildWorker | InProcessWorker]:
    """Returns what the runner calls for each job."""
    return InProcessWorker if in_process else start_child


def _is_information(line: str) -> bool:
    """Whether a line of a job's log says what was going well."""
    prefix = re.match(absl_logging.ABSL_LOGGING_PREFIX_REGEX, line)
    return prefix is not None and prefix['severity'] == 'I'


def _parsed(line: str) -> Any:
    """A message of a child; a line that was cut off by the child's death says nothing; its exit code does."""
    return json.loads(line) if line.endswith('\n') else {'event': 'torn'}


def _failure(event: FailedMessage) -> StagetrainError:
    kinds: dict[int, type[StagetrainError]] = {EXIT_INTERRUPTED: Interrupted, EXIT_BAD_INPUT: BadInput}
    return kinds.get(event['exit_code'], StageFailed)(event['message'])


def _killed(number: signal.Signals, memory_kills_before: int | None) -> str:
    text = f'the process was ended by {number.name}'
    if number == signal.SIGKILL:
        text += memory_kills.explanation(memory_kills_before)
    elif number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE):
        text += ': a crash inside a native library, not an error of the pipeline file; the log of the stage may tell more'
    return f'{text}. The same command goes on from the last checkpoint'
