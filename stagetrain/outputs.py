"""Where a command writes: looked at before the work, so that nothing is computed that cannot be kept.

    place = outputs.file('--json', path, is_report)    # or BadInput: the place, what is there, what is expected
    outputs.write_json('--json', place, report)
    outputs.folder('--out', folder)
    place = outputs.whole_folder('--out', path, 'export.json')    # a folder that is written at once, and replaced as a whole

Permissions do not tell all (a full quota, a read-only disk, `/proc`, and root, who has them all): a file is made and removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from stagetrain import files
from stagetrain.errors import BadInput, DamagedFile

_REMEDIES = {
    errno.ENOSPC: 'free some space',
    errno.EDQUOT: 'free some space, or ask for a larger quota',
    errno.EFBIG: 'raise the limit on the size of files (ulimit -f)',
    errno.ENAMETOOLONG: 'choose a shorter name',
}


def file(option: str, path: pathlib.Path, is_ours: Callable[[Any], bool]) -> pathlib.Path:
    """Returns where a JSON file that `option` names will be written: links are followed, so that a link stays one.

    Args:
      option: e.g. `--json`, for messages.
      path: what the user gave.
      is_ours: whether a JSON value is what the command writes, and may be replaced by it.

    Raises:
      BadInput: it is a folder or a file of something else, its folder is not there, or nothing can be written there.
    """
    with explained(option, path):
        if _is_device(path):
            return path
        place = pathlib.Path(os.path.realpath(path))
        there = _nearest(place)
        if there == place and place.is_dir():
            raise BadInput(f'{option} {path}: found a folder; expected the name of a file')
        if not place.parent.is_dir():
            found = f'{place.parent} is not there' if there.is_dir() else f'{there} is no folder'
            raise BadInput(f'{option} {path}: {found}; expected a file in a folder that is there: make it, or name another one')
        _refuse_names_that_cannot_be(place.parent, place)
        if there == place:
            _refuse_other_files(option, path, is_ours)
        _try_in(place.parent)
    return place


def folder(option: str, path: pathlib.Path) -> None:
    """Refuses a folder that `option` names and that can neither be made nor, where it is there, be written to.

    Raises:
      BadInput: it is something else, or nothing can be written there.
    """
    with explained(option, path):
        place = pathlib.Path(os.path.abspath(path))
        there = _nearest(place)
        if not there.is_dir():
            raise BadInput(f'{option} {path}: {there} is no folder; expected a folder, or a name that is free')
        _refuse_names_that_cannot_be(there, place)
        _try_in(there)


def whole_folder(option: str, path: pathlib.Path, mark: str) -> pathlib.Path:
    """Returns where a folder that `option` names will be written as a whole, by `write_folder`; links are followed.

    Args:
      option: e.g. `--out`, for messages.
      path: what the user gave.
      mark: a file that every such folder holds. A folder that is there may be replaced only where it is empty, or has this file
        and is byte for byte as it was written.

    Raises:
      BadInput: it is something else, or nothing can be written there.
    """
    folder(option, path)
    place = pathlib.Path(os.path.realpath(path))
    with explained(option, path):
        _try_in(_nearest(place.parent))  # It is written beside what is there.
        if not place.is_dir() or not any(place.iterdir()):
            return place
    remedy = 'name another folder, or move what is there'
    if not (place / mark).is_file() or not (place / files.MANIFEST).is_file():
        raise BadInput(f'{option} {path}: found a folder that this command did not write; {remedy}')
    try:
        files.verify_folder(place)
    except DamagedFile as error:
        raise BadInput(f'{option} {path}: what is there has changed since it was written ({error}); {remedy}') from error
    return place


def write_folder(option: str, place: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    """Writes the folder that `whole_folder` returned: beside it, with a manifest, and then in the place of what was there.

    Args:
      option: as of `whole_folder`.
      place: what that returned.
      write: writes files into the folder that it is given.

    Raises:
      BadInput: it cannot be written; what was there is as it was.
    """
    with explained(option, place):
        if not place.is_dir():
            files.commit_folder(place, write)
            return
        beside = place.with_name(f'{files.TEMPORARY}{secrets.token_hex(8)}')
        files.commit_folder(beside, write)
        files.replace_folder(place, beside)


def write_json(option: str, place: pathlib.Path, value: Any) -> None:
    """Writes a JSON value to what `file` returned; raises `BadInput` when that fails, as with a disk that is full by now."""
    with explained(option, place):
        if _is_device(place):
            place.write_bytes(files.as_bytes(files.json_text(value)))
        else:
            files.write_json(place, value)


@contextlib.contextmanager
def explained(option: str, path: pathlib.Path) -> Iterator[None]:
    """Turns an `OSError` of writing what `option` names into a `BadInput` that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, 'name another place')
        raise BadInput(f'{option} {path}: cannot be written: {error.strerror or error}; {remedy}') from error


def _nearest(place: pathlib.Path) -> pathlib.Path:
    """Returns a path itself, if there is anything, or else the first above it where there is."""
    return next(path for path in (place, *place.parents) if os.path.lexists(path))


def _refuse_names_that_cannot_be(folder: pathlib.Path, place: pathlib.Path) -> None:
    """Raises `OSError` when a part of a path below a folder is no name for this disk, such as one that is too long."""
    for part in place.relative_to(folder).parts:
        with contextlib.suppress(FileNotFoundError):
            os.lstat(folder / part)


def _refuse_other_files(option: str, path: pathlib.Path, is_ours: Callable[[Any], bool]) -> None:
    if not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, 'it may not be written', str(path))
    if not path.stat().st_size:
        return
    try:
        found = is_ours(files.read_json(path))
    except DamagedFile:
        found = False
    if not found:
        raise BadInput(f'{option} {path}: found a file that this command did not write; name another one, or remove it')


def _is_device(path: pathlib.Path) -> bool:
    """Whether a path is a device or a pipe, which is written to and not replaced."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _try_in(folder: pathlib.Path) -> None:
    """Makes a file and removes it; raises `OSError` when that is not possible."""
    path = folder / f'{files.TEMPORARY}{secrets.token_hex(8)}'
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()
