"""Where the files of a data set lie. Names that a data set's files give may not lead out of it; links on the disk are followed.

places = Places('/data/voc')
places.file('JPEGImages', '0001.jpg', 'filename')       # '/data/voc/JPEGImages/0001.jpg', which may be a link to anywhere
places.file('JPEGImages', '../../x', 'filename')        # raises: a name must stay inside
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from stagetrain.data.annotation import Kind, Unusable

SPLIT_FOLDERS = ('train', 'trainval', 'training', 'val', 'valid', 'validation', 'test', 'testing')
"""Folders of which each is a split; others are taken for parts of one data set."""
CLUTTER = ('Thumbs.db', 'desktop.ini', '__MACOSX', '@eaDir')
"""What systems leave in folders, besides hidden files."""
_WINDOWS_ROOT = re.compile(r'([A-Za-z]:)?[\\/]')


def is_clutter(name: str) -> bool:
    """Returns whether a name is that of a hidden file, as macOS's `._a.xml` and `.DS_Store`, or of the like."""
    return name.startswith('.') or name in CLUTTER


class Places:
    """The files below one folder. A name is looked for as it is, then with `\\` taken for `/`, then in another case."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Stores the folder; links in its path, and below it, stay links, so that a cache sees one that changes."""
        self.root = os.path.abspath(root)
        self._names: dict[str, dict[str, list[str]]] = {}

    def file(self, folder: str, name: str, element: str = '') -> str:
        """Returns the path of an existing file.

        Args:
          folder: Below the root; '' for the root itself.
          name: What the data set says, relative to `folder`.
          element: Where it says so, for the error.

        Raises:
          Unusable: The name leads out of `folder`, there is no such file, or only a link that leads nowhere.
        """
        for tried in dict.fromkeys((name, name.replace('\\', '/'))):
            self._require_inside(folder, tried, name, element)
            path = os.path.normpath(os.path.join(self.root, folder, tried))
            if os.path.isfile(path):
                return path
        found = self._in_another_case(os.path.join(folder, name.replace('\\', '/')))
        if found is not None:
            return found
        raise _missing(path, os.path.join(folder, name), element)

    def named(self, folder: str, stem: str, suffixes: tuple[str, ...]) -> list[str]:
        """Returns the paths of the files in `folder` that are called `stem` with one of the suffixes, in any case."""
        inner, base = os.path.split(stem)
        place = os.path.join(self.root, folder, inner)
        names = self._listed(place)
        return [os.path.join(place, name) for suffix in suffixes for name in names.get(f'{base}{suffix}'.casefold(), ())]

    def _require_inside(self, folder: str, tried: str, name: str, element: str) -> None:
        if '\0' in tried or _WINDOWS_ROOT.match(tried) or '..' in re.split(r'[\\/]', tried):
            reason = f"expected a name inside '{folder or self.root}', found '{name}'"
            raise Unusable(element, reason, Kind.PLACE, (name,))

    def _in_another_case(self, place: str) -> str | None:
        """Returns the only file that differs from the name in upper and lower case alone."""
        path = self.root
        for part in os.path.normpath(place).split(os.sep):
            exact = os.path.join(path, part)
            names = [part] if os.path.lexists(exact) else self._listed(path).get(part.casefold(), [])
            if len(names) != 1:
                return None
            path = os.path.join(path, names[0])
        return path if os.path.isfile(path) else None

    def _listed(self, folder: str) -> dict[str, list[str]]:
        """Returns the names in a folder by themselves without case."""
        if folder not in self._names:
            names: dict[str, list[str]] = {}
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                names.setdefault(name.casefold(), []).append(name)
            self._names[folder] = names
        return self._names[folder]


def holds(folder: str, *suffixes: str) -> bool:
    """Returns whether there is a file with one of the suffixes below a folder, or a loop of links to be reported."""
    try:
        return os.path.isdir(folder) and next(walk(folder, *suffixes), None) is not None
    except Unusable:
        return True


def walk(root: str, *suffixes: str) -> Iterator[str]:
    """Yields the files below `root` with one of the suffixes, relative to it, sorted; clutter is passed over, links are followed.

    Raises:
      Unusable: A link leads back to a folder above itself.
    """
    yield from _walk(root, '', suffixes, (os.path.realpath(root),))


def _walk(root: str, folder: str, suffixes: tuple[str, ...], above: tuple[str, ...]) -> Iterator[str]:
    for name in sorted(os.listdir(os.path.join(root, folder))):
        place = os.path.join(folder, name)
        path = os.path.join(root, place)
        if is_clutter(name):
            continue
        if os.path.isdir(path):
            real = os.path.realpath(path)
            if real in above:
                raise Unusable(place, f'a link to {real}, a folder above it: a loop; remove the link', Kind.LINK)
            yield from _walk(root, place, suffixes, (*above, real))
        elif name.lower().endswith(suffixes):
            yield place


def _missing(path: str, place: str, element: str) -> Unusable:
    """Returns why there is no file: it or a folder above it is a link that leads nowhere, or there is none."""
    part = path
    while not os.path.islink(part) and not os.path.lexists(part) and os.path.dirname(part) != part:
        part = os.path.dirname(part)
    if os.path.islink(part) and not os.path.exists(part):
        return Unusable(element, f"'{place}': {_of_link(part)}", Kind.LINK, (path,))
    if os.path.isdir(path):
        return Unusable(element, f"'{place}' is a folder, expected a file", Kind.MISSING, (path,))
    return Unusable(element, f"no such file: '{place}'", Kind.MISSING, (path, place))


def _of_link(link: str) -> str:
    target = os.readlink(link)
    try:
        os.stat(link)
    except FileNotFoundError:
        return f'{link} is a link to {target}, which is not there; restore what it leads to, or replace the link'
    except OSError as error:
        return f'{link} is a link to {target}, which cannot be followed: {error.strerror}'
    raise AssertionError(link)
