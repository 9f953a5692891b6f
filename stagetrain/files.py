"""Files that survive a crash: atomic writes, committed folders with a manifest, and append-only JSON lines.

    digest = commit_folder(run / 'checkpoints' / 'step-00000200', save)     # save(folder) writes into a temporary folder
    verify_folder(run / 'checkpoints' / 'step-00000200')                    # raises DamagedFile with the exact file and reason

TensorFlow's own checkpoint writing never calls fsync and deletes the old before the new is safe; everything that stagetrain
leaves in a run directory goes through this file instead. Temporary names begin with `.tmp-`: after a crash `sweep_temporary`
removes them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterator
from typing import Any

from stagetrain.errors import DamagedFile

MANIFEST = 'MANIFEST.json'
TEMPORARY = '.tmp-'
_BLOCK = 1 << 20
_DIGEST_BYTES = 32
_BYTES_OF_NAME = 200


def atomic_write(path: pathlib.Path, content: bytes | str) -> None:
    """Writes a whole file, or leaves the former one: after a crash `path` holds the old content or the new.

    Raises:
      OSError: the disk is full or read-only, or the folder does not exist.
    """
    temporary = _temporary_name(path)
    data = as_bytes(content) if isinstance(content, str) else content
    try:
        with open(temporary, 'xb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    fsync_folder(path.parent)


def as_bytes(text: str) -> bytes:
    """Returns a text in UTF-8. A path's bytes that are not UTF-8, lone surrogates to Python, become JSON's escapes of them."""
    return text.encode(errors='backslashreplace')


def write_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` atomically as JSON with sorted keys.

    Raises:
      OSError: as `atomic_write`.
      ValueError: `value` holds NaN or an infinity, which JSON does not know.
    """
    atomic_write(path, json_text(value))


def json_text(value: Any) -> str:
    """Returns a JSON value for people to read: sorted keys, a line each, no NaN."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + '\n'


def read_json(path: pathlib.Path) -> Any:
    """Returns the value of a JSON file.

    Raises:
      FileNotFoundError: there is no such file.
      DamagedFile: it is not JSON; the message names the file and the place in it.
    """
    content = path.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(
            f'{path}: found {len(content)} bytes that are not JSON ({error}); expected a file as stagetrain wrote it'
        ) from error


def write_sealed_json(path: pathlib.Path, value: Any) -> None:
    """Writes `value` atomically as JSON with a digest of itself beside it; `read_sealed_json` finds any bit that flipped since.

    Raises:
      OSError: as `atomic_write`.
      ValueError: `value` holds NaN or an infinity.
    """
    atomic_write(path, _sealed(value))


def read_sealed_json(path: pathlib.Path) -> Any:
    """Returns the value of a file that `write_sealed_json` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      DamagedFile: not every byte is as it was written.
    """
    read = read_json(path)
    if not isinstance(read, dict) or set(read) != {'digest', 'value'} or path.read_bytes() != _sealed(read['value']):
        raise DamagedFile(f'{path}: its bytes do not fit its own digest; expected a file as stagetrain wrote it')
    return read['value']


def write_sealed_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes `content` atomically with its SHA-256 behind it; raises OSError as `atomic_write`."""
    atomic_write(path, content + hashlib.sha256(content).digest())


def read_sealed_bytes(path: pathlib.Path) -> bytes:
    """Returns the content of a file that `write_sealed_bytes` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      DamagedFile: not every byte is as it was written.
    """
    sealed = path.read_bytes()
    content, digest = sealed[:-_DIGEST_BYTES], sealed[-_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise DamagedFile(f'{path}: its bytes do not fit the digest at its end; expected a file as stagetrain wrote it')
    return content


def canonical_json(value: Any) -> str:
    """Returns the one form of a JSON value that digests are taken of: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(',', ':'), allow_nan=False, ensure_ascii=False)


def digest_of(value: Any) -> str:
    """Returns the SHA-256 of a JSON value's canonical form, in hexadecimal."""
    return hashlib.sha256(as_bytes(canonical_json(value))).hexdigest()


def sha256_file(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
      OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def append_json_line(path: pathlib.Path, value: Any) -> None:
    """Appends one JSON line in a single write and syncs it. A torn last line, left by a crash, is cut off first.

    Raises:
      OSError: the disk is full or read-only.
      ValueError: `value` holds NaN or an infinity.
    """
    line = as_bytes(canonical_json(value) + '\n')
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        end = _cut_torn_line(descriptor)
        if os.write(descriptor, line) != len(line):
            os.ftruncate(descriptor, end)
            raise OSError(errno.ENOSPC, 'No space left on device', str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json_lines(path: pathlib.Path) -> list[Any]:
    """Returns the values of a JSON-lines file; [] when there is none. A torn last line does not count.

    Raises:
      DamagedFile: a line before the last is not JSON; the message names file and line.
    """
    try:
        lines = path.read_bytes().split(b'\n')
    except FileNotFoundError:
        return []
    values = []
    for number, line in enumerate(lines[:-1], start=1):  # What follows the last line feed was never finished.
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DamagedFile(
                f'{path}:{number}: found a line that is not JSON ({error}); expected one JSON value a line'
            ) from error
    return values


def commit_folder(final: pathlib.Path, write: Callable[[pathlib.Path], None]) -> str:
    """Makes a folder that is there whole or not at all.

    `write` fills a temporary sibling folder; a manifest of sizes and digests is added, everything is synced, and one rename
    makes it `final`. Remove older folders only after this has returned.

    Args:
      final: the folder to make; its parent is made when missing.
      write: writes regular files (in sub-folders, too) into the folder that it is given.

    Returns:
      The manifest's digest, which names the folder's whole content.

    Raises:
      FileExistsError: `final` is there already; nothing committed is ever overwritten (see `set_aside`).
      OSError: the disk is full or read-only.
    """
    if os.path.lexists(final):
        raise FileExistsError(errno.EEXIST, 'a committed folder is never overwritten', str(final))
    digests = []

    def write_with_manifest(temporary: pathlib.Path) -> None:
        write(temporary)
        manifest = _manifest(temporary)
        (temporary / MANIFEST).write_text(_render(manifest), encoding='utf-8')
        digests.append(str(manifest['digest']))

    make_folder(final, write_with_manifest)
    return digests[0]


def verify_folder(folder: pathlib.Path) -> str:
    """Checks every byte of a committed folder and returns its manifest's digest.

    Raises:
      DamagedFile: a file is missing, extra, of another size or digest, or the manifest is broken; names the file and the reason.
    """
    manifest = _read_manifest(folder)
    expected = manifest['files']
    found = {path.relative_to(folder).as_posix(): path for path in _regular_files(folder)}
    found.pop(MANIFEST, None)
    for name in sorted(expected.keys() - found.keys()):
        raise DamagedFile(f'{folder / name}: missing; the manifest lists it with {expected[name]["size"]} bytes')
    for name in sorted(found.keys() - expected.keys()):
        raise DamagedFile(f'{found[name]}: extra; the manifest does not list it')
    for name, path in sorted(found.items()):
        size = path.stat().st_size
        if size != expected[name]['size']:
            raise DamagedFile(f'{path}: size is {size} bytes; expected {expected[name]["size"]}')
        digest = sha256_file(path)
        if digest != expected[name]['sha256']:
            raise DamagedFile(
                f'{path}: digest is {digest[:12]}...; expected {expected[name]["sha256"][:12]}...: its bytes have changed'
            )
    return str(manifest['digest'])


def set_aside(path: pathlib.Path) -> pathlib.Path:
    """Renames what cannot be read to `NAME.damaged-1` (-2, ...), so that it is kept and a good one can take its place."""
    number = 1
    while os.path.lexists(target := path.with_name(f'{path.name}.damaged-{number}')):
        number += 1
    os.rename(path, target)
    fsync_folder(path.parent)
    return target


def remove_folder(folder: pathlib.Path) -> None:
    """Deletes a folder so that a crash in the middle leaves no half of it under its name. Missing is fine."""
    temporary = _temporary_name(folder)
    try:
        os.rename(folder, temporary)
    except FileNotFoundError:
        return
    fsync_folder(folder.parent)
    shutil.rmtree(temporary)


def make_folder(final: pathlib.Path, write: Callable[[pathlib.Path], None]) -> None:
    """Makes a folder that is there whole or not at all, as `commit_folder` does, but one that may change afterwards: no manifest.

    Raises:
      OSError: the disk is full or read-only, or `final` is there already.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(final)
    temporary.mkdir()
    try:
        write(temporary)
        _fsync_tree(temporary)
        os.rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    fsync_folder(final.parent)


def replace_folder(folder: pathlib.Path, new: pathlib.Path) -> None:
    """Puts `new` in the place of `folder`, which need not be there, and deletes what was there.

    A crash leaves `folder`, or neither of the two under that name and `new` under its own, or `new` in its place: repeat the call
    while `new` is there under its own name.
    """
    former = _temporary_name(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        os.rename(folder, former)
    os.rename(new, folder)
    fsync_folder(folder.parent)
    fsync_folder(new.parent)
    shutil.rmtree(former, ignore_errors=True)


def sweep_temporary(parent: pathlib.Path) -> list[str]:
    """Deletes what a crash left half-written directly in `parent` and returns the names. Only its one writer may call this."""
    names = sorted(entry.name for entry in os.scandir(parent) if entry.name.startswith(TEMPORARY)) if parent.is_dir() else []
    for name in names:
        path = parent / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return names


def fsync_folder(folder: pathlib.Path) -> None:
    """Makes renames and new names inside `folder` survive a power loss."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sealed(value: Any) -> bytes:
    return as_bytes(canonical_json({'digest': digest_of(value), 'value': value}) + '\n')


def _temporary_name(path: pathlib.Path) -> pathlib.Path:
    """A name may have 255 bytes on most disks: a long one is told in part."""
    beginning = os.fsdecode(os.fsencode(path.name)[:_BYTES_OF_NAME])
    return path.with_name(f'{TEMPORARY}{beginning}-{secrets.token_hex(4)}')


def _cut_torn_line(descriptor: int) -> int:
    """Cuts a file back to its last line feed; returns the length."""
    end = os.fstat(descriptor).st_size
    if end and os.pread(descriptor, 1, end - 1) != b'\n':
        end = os.pread(descriptor, end, 0).rfind(b'\n') + 1
        os.ftruncate(descriptor, end)
    return end


def _manifest(folder: pathlib.Path) -> dict[str, Any]:
    files = {
        path.relative_to(folder).as_posix(): {'size': path.stat().st_size, 'sha256': sha256_file(path)}
        for path in sorted(_regular_files(folder))
    }
    return {'files': files, 'digest': digest_of(files)}


def _render(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, sort_keys=True, indent=1, ensure_ascii=False) + '\n'


def _read_manifest(folder: pathlib.Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        content = path.read_text(encoding='utf-8')
        manifest = json.loads(content)
    except FileNotFoundError as error:
        raise DamagedFile(
            f'{path}: missing; {"the folder was not committed" if folder.is_dir() else "there is no such folder"}'
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedFile(f'{path}: the manifest is broken: {error}') from error
    if (
        not isinstance(manifest, dict)
        or set(manifest) != {'files', 'digest'}
        or digest_of(manifest['files']) != manifest['digest']
    ):
        raise DamagedFile(f'{path}: the manifest is broken: its digest of itself does not fit')
    if content != _render(manifest):  # A flipped bit in the white space or in an escape, too.
        raise DamagedFile(f'{path}: the manifest is broken: its bytes have changed')
    return manifest


def _regular_files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in folder.rglob('*'):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DamagedFile(f'{path}: found a link or a special file; expected regular files and folders only')
        if path.is_file():
            yield path


def _fsync_tree(folder: pathlib.Path) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            fsync_folder(pathlib.Path(root, name))
        fsync_folder(pathlib.Path(root))
