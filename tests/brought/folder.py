"""What a folder holds, so that changes are seen."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator


def contents(folder: pathlib.Path) -> dict[str, str]:
    """Returns relative path -> what a file holds, or where a link leads."""
    return {str(path.relative_to(folder)): _content(path) for path in _files(folder)}


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        yield from (pathlib.Path(root, name) for name in [*names, *links])


def _content(path: pathlib.Path) -> str:
    if path.is_symlink():
        return f'-> {os.readlink(path)}'
    with contextlib.suppress(PermissionError):
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else 'no file'
    return 'not readable'
