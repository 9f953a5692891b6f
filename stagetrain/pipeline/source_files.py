"""What the files of weight sources are, as far as their first bytes tell: what is no weights shows before anything runs.

fault('keras_h5', pathlib.Path('vgg16.h5'))      # 'vgg16.h5: a pointer of git-lfs, not the weights; run `git lfs pull` ...'
fault('keras_h5', pathlib.Path('weights.h5'))    # None: nothing against it; its names and shapes are read later

Only what is certainly something else is refused: a file that no signature names is left to the reader of its kind.
"""

from __future__ import annotations

import pathlib
import re
import zipfile
from typing import NamedTuple

from stagetrain.config import specs

_HEAD_BYTES = 4096
_SHARD = re.compile(r'\.data-(\d{5})-of-(\d{5})$')


class Finding(NamedTuple):
    """What a file is instead of weights, and what to do about it."""

    what: str
    remedy: str


_LFS = Finding('a pointer of git-lfs, not the weights', 'run `git lfs pull` in the clone that it comes from')
_EMPTY = Finding('an empty file', 'fetch it again')
_PAGE = Finding('a page of HTML or XML, as a failed download leaves one', 'fetch it again, from where the file itself is')
_MESSAGE = Finding('JSON text', 'fetch it again, or name the file that holds the weights')
_PYTORCH = Finding('a file of PyTorch', 'convert it where you have PyTorch; it is a pickle, which runs code when it is read')
_PICKLE = Finding('a pickle of Python or PyTorch', _PYTORCH.remedy)
_SAFETENSORS = Finding('a safetensors file', 'convert it to a .h5 of Keras or a checkpoint of TensorFlow')
_ARRAYS = Finding('arrays of NumPy', 'save the weights with Keras or TensorFlow')
_ARCHIVE = Finding('a packed archive', 'unpack it and name the file or folder in it')
_TFLITE = Finding('a model of TensorFlow Lite', 'name the weights that it was converted from')
_KERAS = Finding('a file of Keras', 'name it as keras_h5')
_SIGNATURES = (
    (b'version https://git-lfs', _LFS),
    (b'\x89HDF\r\n', _KERAS),
    (b'\x93NUMPY', _ARRAYS),
    (b'\x1f\x8b', _ARCHIVE),  # gzip.
    (b'BZh', _ARCHIVE),
    (b'\xfd7zXZ\x00', _ARCHIVE),
    (b"7z\xbc\xaf'\x1c", _ARCHIVE),
    *((bytes([0x80, protocol]), _PICKLE) for protocol in (2, 3, 4, 5)),
)
_OF_ANY_KIND = (_LFS, _EMPTY, _PAGE)
"""What no source can be, not even one that a plugin reads."""
_OF_SHARDS = (_LFS, _PAGE)
"""A shard of a checkpoint is raw numbers, which may begin like anything else."""
_NEVER_READ = (*_OF_ANY_KIND, _MESSAGE, _PYTORCH, _PICKLE, _SAFETENSORS, _ARRAYS, _ARCHIVE, _TFLITE)
_MOST_HEADER_BYTES = 100 * 2**20
"""Of a safetensors file, as its own reader has it."""
_TENSORFLOW = ('checkpoint', 'saved_model', 'tf1_checkpoint')


def files_of(given: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files of a source: the file itself, all in a folder, or those of a checkpoint's prefix; empty: not there."""
    if given.is_file():
        return [given]
    if given.is_dir():
        return sorted(path for path in given.rglob('*') if path.is_file())
    if not given.parent.is_dir():
        return []
    beginnings = (f'{given.name}.index', f'{given.name}.data-')
    return sorted(path for path in given.parent.iterdir() if path.name == beginnings[0] or path.name.startswith(beginnings[1]))


def fault(kind: str, given: pathlib.Path) -> str | None:
    """Returns why a source's path cannot hold weights of its kind, with what to do; None when nothing speaks against it.

    Args:
      kind: of the source, other than `run`.
      given: its file, folder or prefix.
    """
    described = specs.source(kind).description or f'a weight file of kind {kind}'
    expected = f'expected {described[0].lower()}{described[1:]}'.rstrip('.')
    if kind in _TENSORFLOW and given.suffix == '.index':
        given = given.with_suffix('')
    by_name = _by_name(kind, given)
    if by_name is not None:
        return f'{given}: {by_name.what}; {expected}. Remedy: {by_name.remedy}'
    found = files_of(given)
    if not found:
        return f'{given}: {"a folder without files" if given.is_dir() else "no such file"}; {expected}'
    if kind == 'keras_h5' and given.is_dir():
        return f'{given}: a folder; {expected}. Remedy: name the file in it'
    told = _telling(kind, given, found)
    try:
        findings = ((path, _finding(path)) for path in told)
        wrong = next(((path, finding) for path, finding in findings if finding and finding in _refused(kind, path)), None)
    except OSError as error:
        return f'{error.filename}: cannot be read ({error.strerror}); {expected}'
    if wrong is not None:
        return f'{wrong[0]}: {wrong[1].what}; {expected}. Remedy: {wrong[1].remedy}'
    missing = _missing_shard(told)
    return f'{missing}: no such file, a part of this checkpoint. Remedy: copy all of its files' if missing else None


def _by_name(kind: str, given: pathlib.Path) -> Finding | None:
    """Tells what a file is whose name alone says that it is not what to name: one of several of a checkpoint, or a graph."""
    if not given.is_file() or kind not in ('keras_h5', *_TENSORFLOW):
        return None
    if given.suffix == '.onnx':
        return Finding('a model of ONNX', 'name the weights that it was converted from')
    if kind == 'keras_h5':
        return None
    if _is_shard(given):
        return Finding('a part of a checkpoint', f'name what its files begin with, {_SHARD.sub("", str(given))}')
    if given.suffix == '.meta':
        return Finding('the graph of a checkpoint', f'name what its files begin with, {given.with_suffix("")}')
    if given.name == 'checkpoint':
        return Finding('the list of the checkpoints of a folder', f'name the folder, {given.parent}')
    if given.name == 'saved_model.pb':
        return Finding('the graph of a SavedModel', f'name its folder as saved_model: {given.parent}')
    return Finding('a frozen graph', 'name the checkpoint that it was made of') if given.suffix == '.pb' else None


def _telling(kind: str, given: pathlib.Path, found: list[pathlib.Path]) -> list[pathlib.Path]:
    """Returns the files that are read. A folder of TensorFlow's may hold anything else; which of several checkpoints it means
    its reader knows."""
    if given.is_file() or kind not in _TENSORFLOW:
        return found
    indices = [path for path in found if path.suffix == '.index']
    return [*indices, *filter(_is_shard, found)] if len(indices) == 1 else []


def _is_shard(path: pathlib.Path) -> bool:
    return _SHARD.search(path.name) is not None


def _refused(kind: str, path: pathlib.Path) -> tuple[Finding, ...]:
    if kind not in ('keras_h5', *_TENSORFLOW):
        return _OF_ANY_KIND
    if _is_shard(path):
        return _OF_SHARDS
    return (*_NEVER_READ, *(() if kind == 'keras_h5' else (_KERAS,)))


def _finding(path: pathlib.Path) -> Finding | None:
    with open(path, 'rb') as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        return _EMPTY
    by_signature = next((finding for signature, finding in _SIGNATURES if head.startswith(signature)), None)
    if by_signature is not None:
        return by_signature
    if head.startswith(b'PK\x03\x04'):
        return _packed(path)
    return _text(head) or _by_structure(head)


def _text(head: bytes) -> Finding | None:
    beginning = head.removeprefix(b'\xef\xbb\xbf').lstrip()[:64].lower()
    if beginning.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        return _PAGE
    return _MESSAGE if beginning.startswith((b'{"', b'{\n', b'{\r\n')) else None


def _by_structure(head: bytes) -> Finding | None:
    if head[8:9] == b'{' and 0 < int.from_bytes(head[:8], 'little') < _MOST_HEADER_BYTES:
        return _SAFETENSORS
    if head[257:262] == b'ustar':
        return _ARCHIVE
    return _TFLITE if head[4:8] == b'TFL3' else None


def _packed(path: pathlib.Path) -> Finding | None:
    """Tells what a zip archive holds; None for one that cannot be read, which its reader explains."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return None
    if any(name.endswith('data.pkl') for name in names):
        return _PYTORCH
    if all(name.endswith('.npy') for name in names):
        return _ARRAYS
    return _KERAS if any(name.endswith('.h5') for name in names) else _ARCHIVE


def _missing_shard(told: list[pathlib.Path]) -> pathlib.Path | None:
    """Returns the first part of a checkpoint whose `.index` is there and that is not there itself."""
    for index in (path for path in told if path.suffix == '.index'):
        prefix = index.name.removesuffix('.index')
        totals = [
            match[2]
            for path in index.parent.iterdir()
            if (match := _SHARD.search(path.name)) and match.string[: -len(match[0])] == prefix
        ]
        total = int(totals[0]) if totals else 1
        wanted = (index.with_name(f'{prefix}.data-{number:05d}-of-{total:05d}') for number in range(total))
        return next((path for path in wanted if not path.is_file()), None)
    return None
