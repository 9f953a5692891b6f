"""Paths that TensorFlow opens as they are: it looks a checkpoint up by a pattern, so that `lr[0.1]/ckpt` finds nothing.

    reader = tf.train.load_checkpoint(plain_prefix('runs/lr[0.1]/stages/rpn_1/checkpoints/step-00000600/ckpt'))

`tf.train.load_checkpoint`, `tf.train.latest_checkpoint` and the op behind `Checkpoint.read` give the prefix to TensorFlow's
`GetMatchingPaths`, where `[`, `*`, `?` and a backslash belong to a pattern; and text that is not UTF-8 gets into no tensor.
Such a path is reached by a link of a plain name in a temporary folder, which is removed when the process ends and not before:
`Checkpoint.read` opens the file again when a variable that it did not find is created later, such as an optimizer's slot.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import pathlib
import tempfile
from collections.abc import Iterator

from stagetrain.errors import BadInput

_OF_PATTERNS = frozenset('*?[]\\')
_OTHER_FOLDERS = ('/tmp', '/var/tmp', '/dev/shm')
_LINK = 'ckpt'


def is_plain(path: str) -> bool:
    """Returns whether TensorFlow opens a path as it is."""
    try:
        path.encode()
    except UnicodeEncodeError:  # Bytes that are not UTF-8, which Python reads as lone surrogates.
        return False
    return not _OF_PATTERNS & set(path)


def plain_prefix(prefix: pathlib.Path | str) -> str:
    """Returns a prefix that TensorFlow opens as it is, and that leads to the same checkpoint.

    Args:
      prefix: of a checkpoint to read; or to write, where its folder is there and its last part is a plain name.

    Raises:
      BadInput: a link is needed, and no temporary folder can be written.
    """
    text = os.fspath(prefix)
    if is_plain(text):
        return text
    folder, name = os.path.split(os.path.abspath(text))
    return os.path.join(_link(folder), name) if is_plain(name) else _links_to_files(folder, name)


def require_reachable(folder: pathlib.Path) -> None:
    """Raises `BadInput` when checkpoints below a folder could not be read again; asked before anything is trained."""
    if not is_plain(os.path.abspath(folder)):
        _place(folder)


@functools.cache
def _link(folder: str) -> str:
    place = _place(folder)
    with _explained(folder):
        path = os.path.join(tempfile.mkdtemp(dir=place), _LINK)
        os.symlink(folder, path)
    return path


def _links_to_files(folder: str, name: str) -> str:
    """Returns the prefix of links to a checkpoint's files: `ckpt.index`, `ckpt.data-...`, or `ckpt` for one of TensorFlow 1."""
    place = _place(folder)
    with _explained(folder):
        prefix = os.path.join(tempfile.mkdtemp(dir=place), _LINK)
        for file in os.listdir(folder):
            if file == name or file.startswith(f'{name}.'):
                os.symlink(os.path.join(folder, file), prefix + file.removeprefix(name))
    return prefix


def _place(wanted: pathlib.Path | str) -> str:
    """Returns this process's folder for links."""
    with _explained(wanted):
        return _temporary_folder().name


@functools.cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    usual = tempfile.gettempdir()
    places = [place for place in (usual, *_OTHER_FOLDERS) if is_plain(place) and os.access(place, os.W_OK | os.X_OK)]
    if not places:
        raise FileNotFoundError(errno.ENOENT, 'no folder of a plain name that can be written', usual)
    return tempfile.TemporaryDirectory(prefix='stagetrain-', dir=places[0])


@contextlib.contextmanager
def _explained(wanted: pathlib.Path | str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadInput(
            f"{wanted}: TensorFlow takes one of the letters * ? [ ] \\ in it for a pattern's, and a link around that cannot be "
            f'made in a temporary folder ({error.filename or ""}: {error.strerror or error}). Name a folder that can be written '
            'with TMPDIR, or rename this one'
        ) from error
