"""Which images a data set held, so that a change of it is told by names: `data/<digest of the data set>.json`.

    keep(directory / 'data', facts.items, needed)
    changes(read(directory / 'data', former), present)     # '1 added (d), 12 with other annotations (a, b, c and 9 more)'
    shared(train, validation)                              # '2 images are in data.train and in data.validation (a, b as c)'

An item is an image's id with a short digest of the image and one of its annotation (`stagetrain.data.index`).
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Collection, Mapping

from stagetrain import files
from stagetrain.errors import DamagedFile

NUM_NAMES_SHOWN = 3

Items = Mapping[str, str]


def keep(folder: pathlib.Path, items: Mapping[str, Items], needed: Collection[str]) -> None:
    """Writes the items of data sets, by digest, that are not there yet, and removes those of data sets that are not `needed`.

    Raises:
      OSError: the disk is full or read-only.
    """
    folder.mkdir(exist_ok=True)
    files.sweep_temporary(folder)
    there = {path.stem: path for path in folder.glob('*.json')}
    for digest in items.keys() - there.keys():
        files.write_sealed_json(folder / f'{digest}.json', dict(items[digest]))
    for digest in there.keys() - items.keys() - set(needed):
        there[digest].unlink()


def read(folder: pathlib.Path, digest: str) -> Items | None:
    """Returns the items of a data set, or None when nobody kept them or they cannot be read: only names are lost then."""
    with contextlib.suppress(OSError, DamagedFile):
        return dict(files.read_sealed_json(folder / f'{digest}.json'))
    return None


def changes(former: Items, present: Items) -> str:
    """Returns what differs between two data sets: how many items, and the first names; empty: only the classes do."""
    changed = [name for name in former if name in present and former[name] != present[name]]
    kinds = {
        'added': present.keys() - former.keys(),
        'removed': former.keys() - present.keys(),
        'with another image': [name for name in changed if _halves(former[name])[0] != _halves(present[name])[0]],
        'with other annotations': [name for name in changed if _halves(former[name])[1] != _halves(present[name])[1]],
    }
    return ', '.join(f'{len(names)} {kind} ({_few(sorted(names))})' for kind, names in kinds.items() if names)


def shared(train: Items, validation: Items) -> str:
    """Returns how many images of the training set are in the validation set too, byte for byte, and the first; empty: none."""
    names = {_halves(item)[0]: name for name, item in train.items()}
    found = [(names[_halves(item)[0]], name) for name, item in sorted(validation.items()) if _halves(item)[0] in names]
    if not found:
        return ''
    shown = [one if one == other else f'{one} as {other}' for one, other in found]
    return (
        f'{"1 image is" if len(found) == 1 else f"{len(found)} images are"} in data.train and in data.validation ({_few(shown)})'
    )


def _halves(item: str) -> tuple[str, str]:
    middle = len(item) // 2
    return item[:middle], item[middle:]


def _few(names: list[str]) -> str:
    rest = len(names) - NUM_NAMES_SHOWN
    return ', '.join(names[:NUM_NAMES_SHOWN]) + (f' and {rest} more' if rest > 0 else '')
