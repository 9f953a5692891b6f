"""The standard error that a person reads, wherever file descriptor 2 leads.

    with leading_to(log_descriptor):
        os.write(2, b'noise')              # into the log, as all that native code and other libraries print
        os.write(fileno(), b'a message')   # to the person

Native code writes to file descriptor 2 and asks nobody, so the descriptor itself is turned.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import warnings
from collections.abc import Iterator

_DESCRIPTOR = 2
_persons: int | None = None
"""Where file descriptor 2 led before it was turned; None while it is not."""


def fileno() -> int:
    """Returns the descriptor that a person reads; may be called from a signal handler."""
    return sys.stderr.fileno() if _persons is None else _persons


def write(text: str) -> None:
    """Shows a text to the person, at once; does nothing where nobody reads it any more."""
    with contextlib.suppress(OSError, ValueError):
        if _persons is not None:
            os.write(_persons, text.encode(getattr(sys.stderr, 'encoding', None) or 'utf-8', 'backslashreplace'))
        elif sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()


@contextlib.contextmanager
def leading_to(descriptor: int) -> Iterator[None]:
    """Has file descriptor 2 be `descriptor` inside a block, and then again what it was.

    Warnings of Python libraries are written there too. A crash in native code leaves a traceback for the person.
    """
    global _persons
    if sys.stderr is None:  # Python's word for a standard error that was closed before it started: nobody reads it.
        yield
        return
    former = _persons
    sys.stderr.flush()
    saved = os.dup(_DESCRIPTOR)
    _persons = saved if former is None else former
    os.dup2(descriptor, _DESCRIPTOR)
    try:
        with _telling_of_crashes(_persons), _warnings_written():
            yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, _DESCRIPTOR)
        os.close(saved)
        _persons = former


@contextlib.contextmanager
def _telling_of_crashes(descriptor: int) -> Iterator[None]:
    if faulthandler.is_enabled():
        yield
        return
    faulthandler.enable(descriptor, all_threads=False)
    try:
        yield
    finally:
        faulthandler.disable()


@contextlib.contextmanager
def _warnings_written() -> Iterator[None]:
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.resetwarnings()
        yield
