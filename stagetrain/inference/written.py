"""What `stagetrain detect` wrote into a folder: nothing else there is ever replaced. TensorFlow-free.

    out = OutFolder.read(pathlib.Path('out'))
    name = out.free_name('cam1/1.jpg')      # 'cam1/1.png', unless the user has a file there
    out.write(name, png)

`.stagetrain-detect.jsonl` in the folder holds a line for each file, written before the file itself: its name and its SHA-256. A
file is ours as long as its bytes are of such a line; one that was edited since is the user's.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence, Set

from stagetrain import files
from stagetrain.errors import DamagedFile

LEDGER = '.stagetrain-detect.jsonl'
_SUFFIX = '.png'
_MAX_BYTES = 255
"""Of a file's name, on most disks."""


@dataclasses.dataclass(frozen=True)
class OutFolder:
    """A folder, and the digests of what was written there by name."""

    path: pathlib.Path
    digests: Mapping[str, Set[str]]

    @classmethod
    def read(cls, path: pathlib.Path) -> OutFolder:
        """Returns what is known of a folder, which need not be there; with a ledger that cannot be read, no file is ours."""
        digests: dict[str, set[str]] = {}
        with contextlib.suppress(OSError, DamagedFile, KeyError, TypeError):
            for line in files.read_json_lines(path / LEDGER):
                digests.setdefault(line['file'], set()).add(line['sha256'])
        return cls(path, digests)

    def is_ours(self, name: str) -> bool:
        """Returns whether a file in the folder, by its relative path, is as an earlier call wrote it."""
        place = self.path / name
        known = self.digests.get(text(name))
        return bool(known) and not place.is_symlink() and place.is_file() and files.sha256_file(place) in (known or ())

    def is_free(self, name: str) -> bool:
        """Returns whether a name may be written to: nothing is there, or a file of ours."""
        return not os.path.lexists(self.path / name) or self.is_ours(name)

    def write(self, name: str, content: bytes) -> pathlib.Path:
        """Writes a file of a free name, whole or not at all, and returns its path; raises `OSError` when that fails."""
        place = self.path / name
        place.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.digests.get(text(name), ()):
            files.append_json_line(self.path / LEDGER, {'file': text(name), 'sha256': digest})
        files.atomic_write(place, content)
        return place

    def picture_names(self, images: Sequence[str], inputs: Set[str] = frozenset()) -> list[str]:
        """Returns the name of each image's picture: its own with `.png` for its suffix, and with both where that is taken.

        Args:
          images: relative paths, each once. Those whose pictures would have one name (`1.jpg`, `1.bmp`) keep their suffixes.
          inputs: real paths that are not written to, also where they are ours.
        """
        short = [_fitting(os.path.splitext(name)[0], _SUFFIX) for name in images]
        counts = collections.Counter(short)
        names: dict[str, None] = {}
        for image, wanted in zip(images, short, strict=True):
            candidates = _candidates(image, wanted if counts[wanted] == 1 else None)
            free = (name for name in candidates if name not in names and self.is_free(name))
            names[next(name for name in free if os.path.realpath(self.path / name) not in inputs)] = None
        return list(names)


def text(name: str) -> str:
    """Returns a name as JSON can hold it: bytes that are not UTF-8 are escaped."""
    return name.encode(errors='backslashreplace').decode()


def _candidates(image: str, short: str | None) -> Iterator[str]:
    if short is not None:
        yield short
    yield _fitting(image, _SUFFIX)
    number = 2
    while True:
        yield _fitting(image, f'.{number}{_SUFFIX}')
        number += 1


def _fitting(image: str, suffix: str) -> str:
    """Returns the name with a suffix; where that is too long for a file, its end gives way to a digest of it."""
    folder, name = os.path.split(image)
    if len(os.fsencode(name + suffix)) > _MAX_BYTES:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
        name = f'{os.fsdecode(os.fsencode(name)[: _MAX_BYTES - 40])}~{digest}'
    return os.path.join(folder, name + suffix)
