"""The log of this process, by absl: its lines have times, and go to a file of the run directory.

    with of_process(standard_error.write):          # the command line, or a child
        with in_file(run_dir / 'logs' / 'run.log'):
            absl.logging.info('%s: begins', stage)

A person sees lines only on request: `--verbosity`, `--stderrthreshold` and their like. While file descriptor 2 leads to a log
(see `standard_error`), absl's own handler would write there; so lines go through one of ours, with absl's format and flags.
A log that cannot be written loses lines, and nothing else happens.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pathlib
import threading
from collections.abc import Callable, Iterator

from absl import logging as absl_logging
from absl.logging import converter

from stagetrain import outputs
from stagetrain.flags import FLAGS

_installed: _Handler | None = None
"""The handler of the command line or child that this process is; None in anybody else's program."""


@contextlib.contextmanager
def of_process(show: Callable[[str], None], descriptor: int | None = None) -> Iterator[None]:
    """Handles all log records of this process inside a block, from INFO on where `--verbosity` says nothing else.

    Args:
      show: shows a line to the person.
      descriptor: the log's file descriptor; None while there is none.
    """
    global _installed
    former, _installed = _installed, _Handler(descriptor, show)
    logging.root.addHandler(_installed)
    if FLAGS['verbosity'].using_default_value:
        FLAGS['verbosity'].value = absl_logging.INFO
    try:
        yield
    finally:
        logging.root.removeHandler(_installed)
        _installed = former


@contextlib.contextmanager
def in_file(path: pathlib.Path | None) -> Iterator[None]:
    """Appends this process's log to a file inside a block, whose folder is made when missing.

    In a program that is not ours, the log holds what absl's verbosity lets through in the thread that called this.
    """
    descriptor = _opened(path)
    try:
        with _of_this_thread(descriptor) if _installed is None else to(descriptor):
            yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def to(descriptor: int) -> Iterator[None]:
    """Writes this process's log to a file descriptor inside a block; changes nothing in a program that is not ours."""
    handler = _installed
    if handler is None:
        yield
        return
    former, handler.descriptor = handler.descriptor, descriptor
    try:
        yield
    finally:
        handler.descriptor = former


def keep_in_log_dir(program: str) -> None:
    """Writes the log into `--log_dir` too, where that was given, in a file with the name that absl gives it; once.

    Raises:
      BadInput: nothing can be written there.
    """
    if _installed is None or _installed.has_file() or FLAGS['log_dir'].using_default_value or not FLAGS['log_dir'].value:
        return
    folder = pathlib.Path(FLAGS['log_dir'].value)
    outputs.folder('--log_dir', folder)
    with outputs.explained('--log_dir', folder):
        folder.mkdir(parents=True, exist_ok=True)
        only_shown = FLAGS['logtostderr']
        former = only_shown.value, only_shown.using_default_value
        _installed.file.start_logging_to_file(program, str(folder))  # It also sets `--nologtostderr`.
        only_shown.value, only_shown.using_default_value = former


def show(line: str) -> None:
    """Shows the person a line of a child's log; in a program that is not ours nobody asked for it."""
    if _installed is not None:
        _installed.show(line)


def are_shown() -> bool:
    """Returns whether the person sees lines of the level INFO."""
    return _installed is not None and _installed.shows(logging.INFO)


class _Handler(logging.Handler):
    """Writes records in absl's format to a descriptor, shows them as absl's flags say, and ends the process after a fatal one."""

    def __init__(self, descriptor: int | None, show: Callable[[str], None]) -> None:
        super().__init__()
        self.setFormatter(absl_logging.PythonFormatter())
        self.descriptor = descriptor
        self.file = absl_logging.PythonHandler()
        """Holds the file in `--log_dir`; standard error while there is none."""
        self._no_file = self.file.stream
        self.show, self._plain = show, logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Handles a record; called with the handler's lock held."""
        try:
            shown = self.format(record)
            line = f'{absl_logging.get_absl_log_prefix(record)}{self._plain.format(record)}\n'
        except Exception:  # As every handler of Python's: the caller's arguments do not fit its text.
            self.handleError(record)
            return
        if not FLAGS['logtostderr'].value:
            self._write(line.encode('utf-8', 'backslashreplace'))
        if self.shows(record.levelno):
            self.show(f'{shown}\n')
        if record.name == 'absl' and record.levelno >= logging.CRITICAL:
            os.abort()  # What `absl.logging.fatal` promises.

    def shows(self, level: int) -> bool:
        """Returns whether a person sees lines of a level, by what absl's flags say."""
        if FLAGS['logtostderr'].value or FLAGS['alsologtostderr'].value:
            return True
        if not FLAGS['stderrthreshold'].using_default_value:
            return bool(level >= converter.string_to_standard(FLAGS['stderrthreshold'].value))
        if not FLAGS['verbosity'].using_default_value:
            return bool(level >= absl_logging.get_absl_logger().level)
        return level >= (logging.WARNING if self.descriptor is None else logging.CRITICAL)

    def has_file(self) -> bool:
        """Returns whether a file in `--log_dir` is open."""
        return self.file.stream is not self._no_file

    def _write(self, line: bytes) -> None:
        if self.descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(self.descriptor, line)
        if self.has_file():
            with contextlib.suppress(OSError):
                os.write(self.file.stream.fileno(), line)


@contextlib.contextmanager
def _of_this_thread(descriptor: int) -> Iterator[None]:
    """Adds a handler to absl's logger for the records of the present thread; the program's own handlers have them too."""
    handler, thread = _Handler(descriptor, _nothing), threading.get_ident()
    handler.addFilter(lambda record: record.thread == thread)
    logger = absl_logging.get_absl_logger()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _nothing(line: str) -> None:
    del line


def _opened(path: pathlib.Path | None) -> int:
    """Returns a descriptor of a file, or of nothing where that cannot be written. A pipe is not waited for."""
    with contextlib.suppress(OSError):
        if path is not None:
            path.parent.mkdir(exist_ok=True)
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644)
    return os.open(os.devnull, os.O_WRONLY)
