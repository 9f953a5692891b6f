"""Makes sure that no child of a dead parent is still at work when the next parent begins.

    with attending(run_dir): ...           # in a child, while it carries a job out
    wait_for_leftovers(run_dir)            # in a parent that holds the run directory, before it starts a child

A child whose parent was killed saves and stops, which takes a moment; until then two children would write into one stage.
Children hold a shared lock on a file, which the system takes from them when they die, however they die.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import time
from collections.abc import Iterator

from stagetrain.errors import RunDirectoryError

CHILDREN_FILE = '.children'
_SECONDS_TO_STOP = 120.0
_SECONDS_BETWEEN_LOOKS = 0.05


@contextlib.contextmanager
def attending(run_dir: pathlib.Path) -> Iterator[None]:
    """Tells the next parent that a child is at work in `run_dir`; raises OSError when the lock cannot be had."""
    with _opened(run_dir) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


def wait_for_leftovers(run_dir: pathlib.Path, seconds: float = _SECONDS_TO_STOP) -> None:
    """Returns when no child works in `run_dir`.

    Raises:
      RunDirectoryError: one still does after `seconds`.
      OSError: the run directory cannot be written.
    """
    until = time.monotonic() + seconds
    with _opened(run_dir) as descriptor:
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise RunDirectoryError(
                        f'{run_dir}: a child of a run that was killed is still at work here after {seconds:.0f} s; it saves and '
                        f'stops when its step ends. Wait for it, or end it (fuser {run_dir / CHILDREN_FILE} names it).'
                    ) from error
                time.sleep(_SECONDS_BETWEEN_LOOKS)


@contextlib.contextmanager
def _opened(run_dir: pathlib.Path) -> Iterator[int]:
    descriptor = os.open(run_dir / CHILDREN_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
