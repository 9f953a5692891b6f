"""Real processes for the campaigns, forked from one that has imported everything, and signals at a call of the file system.

A parent runs a pipeline as `stagetrain run` does; its children carry jobs out as `workers.child` does. Both are processes
of their own, which can be killed; only the seconds of their imports are saved.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any

from scripts.process_tree import is_alive
from stagetrain.cli import main
from stagetrain.config import load
from stagetrain.errors import EXIT_FAILED
from stagetrain.files import append_json_line, read_json_lines
from stagetrain.workers import child, process

CALLS = ('fsync', 'replace', 'rename', 'mkdir', 'unlink', 'rmdir', 'write')
"""Calls of `os` before or after which a process can be killed; all that stagetrain writes goes through these or TensorFlow."""
_HIGHEST_DESCRIPTOR = 256


class Forked:
    """A forked process with the part of `subprocess.Popen` that the runner and the campaigns use."""

    def __init__(self, work: Callable[[], int], stdin: IO[bytes] | None = None) -> None:
        """Args: work: what the process does; its result is the exit code. stdin: our end of its standard input."""
        self.stdin = stdin
        self._code: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = EXIT_FAILED
            try:
                code = work()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)

    def poll(self) -> int | None:
        """Returns the exit code, minus the signal's number when one ended it, or None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Waits for its end; raises `subprocess.TimeoutExpired` as Popen does."""
        until = time.monotonic() + (timeout if timeout is not None else float('inf'))
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(['forked'], timeout or 0)
            time.sleep(0.005)
        return code


@dataclasses.dataclass(frozen=True)
class KillAt:
    """A process of this role gets a signal at its n-th call (counted from 1), before it is made or when it has returned."""

    role: str
    call: int
    after: bool
    number: signal.Signals = signal.SIGKILL


def arm(point: KillAt | None, role: str, log: pathlib.Path | None = None) -> None:
    """Counts the calls of this process and has the signal sent at `point`; the moment is written beside `log`."""
    if point is None or point.role != role:
        return
    count = 0

    def strike() -> None:
        if log is not None:
            struck_file(log).write_text(str(time.monotonic()))
        os.kill(os.getpid(), point.number)

    def armed(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            is_due = count == point.call  # A signal that does not kill lets more calls be made meanwhile.
            if is_due and not point.after:
                strike()
            result = original(*arguments, **options)
            if is_due and point.after:
                strike()
            return result

        return call

    for name in CALLS:
        setattr(os, name, armed(getattr(os, name)))


@dataclasses.dataclass(frozen=True)
class Arena:
    """Where a campaign's runs take place, and what carries their jobs out."""

    config: pathlib.Path
    implementations: Mapping[str, str]
    environ: Mapping[str, str]
    arguments: tuple[str, ...] = ()
    """More of `stagetrain run`."""

    def __post_init__(self) -> None:
        """Builds the types of pipeline files once, for all processes that are forked afterwards."""
        load.load_pipeline(self.config)

    def start_parent(self, run_dir: pathlib.Path, log: pathlib.Path, point: KillAt | None = None) -> Forked:
        """Starts `stagetrain run` on a run directory; it and its children write their process ids beside `log`."""
        return Forked(lambda: self._parent(run_dir, log, point))

    def _parent(self, run_dir: pathlib.Path, log: pathlib.Path, point: KillAt | None) -> int:
        os.setsid()
        _redirect(log)
        os.environ.update(self.environ)
        arm(point, 'parent', log)
        process.start_child = lambda: self._start_child(log, point)  # type: ignore[assignment]
        return main.main(['run', str(self.config), '--run_dir', str(run_dir), *self.arguments])

    def _start_child(self, log: pathlib.Path, point: KillAt | None) -> process.ChildWorker:
        events_read, events_write = os.pipe()
        stdin_read, stdin_write = os.pipe()
        early_output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker.

        def work() -> int:
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(stdin_read, 0)
            os.dup2(early_output.fileno(), 1)
            os.dup2(early_output.fileno(), 2)
            for descriptor in range(3, _HIGHEST_DESCRIPTOR):
                if descriptor != events_write:
                    _close(descriptor)
            sys.stdin = os.fdopen(os.dup(0), 'r', encoding='utf-8')
            os.environ[child.EVENTS_VARIABLE] = str(events_write)
            arm(point, 'child', log)
            return child.main(self.implementations)

        forked = Forked(work, os.fdopen(stdin_write, 'wb'))
        append_json_line(pids_file(log), forked.pid)
        os.close(stdin_read)
        os.close(events_write)
        return process.ChildWorker(forked, os.fdopen(events_read, encoding='utf-8'), early_output)  # type: ignore[arg-type]


def pids_file(log: pathlib.Path) -> pathlib.Path:
    """Returns the file with the process ids of a parent's children."""
    return log.with_suffix('.pids')


def struck_file(log: pathlib.Path) -> pathlib.Path:
    """Returns the file with the moment, by the monotonic clock, at which a process got its signal at a call."""
    return log.with_suffix('.struck')


def living_children(log: pathlib.Path) -> list[int]:
    """Returns the process ids of a parent's children that still live, the parent being dead or alive."""
    return [pid for pid in read_json_lines(pids_file(log)) if is_alive(pid)]


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Sends a signal to one process that this campaign started, if it is still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def fresh(folder: pathlib.Path) -> pathlib.Path:
    """Returns an empty folder of this name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _redirect(log: pathlib.Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return
