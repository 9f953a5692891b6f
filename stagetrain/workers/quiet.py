"""What TensorFlow, CUDA, absl, Keras and other libraries print goes to a log, not to the person who runs a command.

    with computing(run_dir / 'logs' / 'detect.log'):
        from stagetrain.inference import detect
        detect.detect_images(...)

Our own messages are printed to standard output inside the block, or to standard error behind it (see `standard_error`).
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from stagetrain import logs, standard_error
from stagetrain.errors import StagetrainError
from stagetrain.workers.environment import prepare_environment


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
    """Sends file descriptor 2, and our own log lines, to a log.

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
        with standard_error.leading_to(descriptor), logs.to(descriptor):
            yield
    except (StagetrainError, BrokenPipeError):
        raise
    except Exception:
        is_temporary = False
        print(f'stagetrain: what TensorFlow and other libraries printed is in {path}', file=sys.stderr)
        raise
    finally:
        os.close(descriptor)
        if is_temporary:
            path.unlink(missing_ok=True)


def _opened(log: pathlib.Path | None, keep: bool) -> tuple[int, pathlib.Path]:
    """Returns a descriptor and the path that it writes to."""
    with contextlib.suppress(OSError):
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if keep else os.O_TRUNC), 0o644), log
    descriptor, name = tempfile.mkstemp(prefix='stagetrain-', suffix='.log')
    return descriptor, pathlib.Path(name)
