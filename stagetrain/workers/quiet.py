"""What TensorFlow, CUDA, absl, Keras and other libraries print goes to a log, not to the person who runs a command.

    with computing(run_dir / 'logs' / 'detect.log'):
        from stagetrain.inference import detect
        detect.detect_images(...)

Native code writes to file descriptor 2 and asks nobody, so the descriptor itself leads to the log inside the block. Our own
messages are printed to standard output, or to standard error behind the block.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pathlib
import sys
import tempfile
import warnings
from collections.abc import Iterator

from stagetrain.errors import StagetrainError
from stagetrain.workers.environment import prepare_environment

STANDARD_ERROR = 2
_real = STANDARD_ERROR


@contextlib.contextmanager
def computing(log: pathlib.Path | None = None, *, keep: bool = False) -> Iterator[None]:
    """Sets what TensorFlow reads while it is imported, and sends what libraries print to a log; for a block that imports it.

    Args:
      log: as for `printing_to`.
      keep: as for `printing_to`.

    Raises:
      ConfigError: as `prepare_environment`.
    """
    prepare_environment()
    with printing_to(log, keep=keep):
        yield


@contextlib.contextmanager
def printing_to(log: pathlib.Path | None = None, *, keep: bool = False) -> Iterator[None]:
    """Sends file descriptor 2 to a log.

    An exception that is no `StagetrainError` tells, in front of its traceback, where the log is. A crash in native code leaves a
    traceback on the real standard error.

    Args:
      log: the log file, with its folder made when missing; None, or where it cannot be written: a temporary file, removed
        unless an unexpected exception ends the block.
      keep: add to what is in the log, where it would be replaced.
    """
    descriptor, path = _opened(log, keep)
    is_temporary = path != log
    try:
        with _leading_to(descriptor):
            yield
    except (StagetrainError, BrokenPipeError):
        raise
    except Exception:
        is_temporary = False
        print(f'stagetrain: what TensorFlow and other libraries printed is in {path}', file=sys.stderr)
        raise
    finally:
        if is_temporary:
            path.unlink(missing_ok=True)


def write_to_person(message: bytes) -> None:
    """Writes to the real standard error, inside a block too; may be called from a signal handler."""
    os.write(_real, message)


@contextlib.contextmanager
def _leading_to(descriptor: int) -> Iterator[None]:
    """Has file descriptor 2 be `descriptor`, which is closed, and then what it was."""
    global _real
    former = _real
    sys.stderr.flush()
    saved = os.dup(STANDARD_ERROR)
    _real = saved if former == STANDARD_ERROR else former
    os.dup2(descriptor, STANDARD_ERROR)
    os.close(descriptor)
    tells_of_crashes = not faulthandler.is_enabled()
    if tells_of_crashes:
        faulthandler.enable(_real, all_threads=False)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.resetwarnings()
            yield
    finally:
        if tells_of_crashes:
            faulthandler.disable()
        sys.stderr.flush()
        os.dup2(saved, STANDARD_ERROR)
        os.close(saved)
        _real = former


def _opened(log: pathlib.Path | None, keep: bool) -> tuple[int, pathlib.Path]:
    """Returns a descriptor and the path that it writes to."""
    with contextlib.suppress(OSError):
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if keep else os.O_TRUNC), 0o644), log
    descriptor, name = tempfile.mkstemp(prefix='stagetrain-', suffix='.log')
    return descriptor, pathlib.Path(name)
