"""The folder in which what was learned of data sets is kept for all commands of a person, whatever their run directories.

It is `$STAGETRAIN_CACHE`; without that `$XDG_CACHE_HOME/stagetrain`, or else `~/.cache/stagetrain`. An empty STAGETRAIN_CACHE
means that nothing is kept. It can be deleted at any time. Whenever an entry is added, those that no command has used for 30 days
are removed, and the longest unused ones beyond 1 GiB in all.

    folder = user_cache.folder()     # None: nothing is kept
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator, Mapping

from stagetrain import files

VARIABLE = 'STAGETRAIN_CACHE'
MAX_UNUSED_S = 30 * 24 * 3600
MAX_BYTES = 1 << 30
ENTRIES = 'dataset-*.npz'
"""Names of entries; files of other names are not ours, for the user names the folder."""
_MAX_TEMPORARY_S = 24 * 3600
"""What a killed process left half written is removed after a day; younger ones may be under way."""


def folder(environ: Mapping[str, str] | None = None) -> pathlib.Path | None:
    """Returns the folder, which need not be there; None where nothing is to be kept, or the user's home is not there.

    Args:
      environ: the environment; None: the process's.
    """
    environ = os.environ if environ is None else environ
    named = environ.get(VARIABLE)
    if named is not None:
        return pathlib.Path(named).absolute() if named else None
    base = pathlib.Path(environ.get('XDG_CACHE_HOME', ''))
    if not base.is_absolute():  # The XDG specification has relative ones ignored.
        home = environ.get('HOME', '') or os.path.expanduser('~')
        if not os.path.isdir(home):
            return None
        base = pathlib.Path(home) / '.cache'
    return base / 'stagetrain'


def fault(place: pathlib.Path | None) -> str | None:
    """Makes the folder where it is missing, and returns why nothing can be kept in it; None where it can, or need not be."""
    if place is None:
        return None
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        return _as_note(place, error.strerror or str(error))
    return None if os.access(place, os.W_OK | os.X_OK) else _as_note(place, 'Permission denied')


def mark_used(entry: pathlib.Path) -> None:
    """Puts an entry's age back to nothing."""
    with contextlib.suppress(OSError):
        os.utime(entry)


def trim(place: pathlib.Path) -> None:
    """Removes entries that are too old, those that are too many, and what killed processes left half written."""
    now, total = time.time(), 0
    for used, size, path in sorted(_ages(place, ENTRIES), reverse=True):
        total += size
        if now - used > MAX_UNUSED_S or total > MAX_BYTES:
            _remove(path)
    for written, _, path in _ages(place, f'{files.TEMPORARY}*'):
        if now - written > _MAX_TEMPORARY_S:
            _remove(path)


def _ages(place: pathlib.Path, pattern: str) -> Iterator[tuple[float, int, pathlib.Path]]:
    for path in place.glob(pattern):
        with contextlib.suppress(OSError):  # Another process may have removed it.
            found = path.stat()
            yield found.st_mtime, found.st_size, path


def _remove(path: pathlib.Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _as_note(place: pathlib.Path, reason: str) -> str:
    return (
        f'{place}: cannot be written ({reason}), so what is learned of data sets is not kept for later commands; '
        f'{VARIABLE} names another folder, and an empty one none'
    )
