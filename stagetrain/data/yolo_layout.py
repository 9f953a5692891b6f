"""Where a YOLO data set keeps its images, labels, splits and class names, as tools leave them.

ROOT/data.yaml, images/train/, labels/train/        Ultralytics
ROOT/data.yaml, train/images/, train/labels/        Roboflow
ROOT/obj.names, train.txt, obj_train_data/          CVAT (YOLO 1.1): labels beside images, listed by train.txt
ROOT/classes.txt, images/, labels/                  Label Studio; or all files in one folder: LabelImg

layout = find(DataSource(format='yolo', path='dataset', split='train'))
layout.images, layout.label_file('a.jpg'), layout.names
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import yaml

from stagetrain.config import schema
from stagetrain.data.annotation import Unusable
from stagetrain.data.images import SUFFIXES
from stagetrain.data.places import holds, is_clutter, walk
from stagetrain.data.text_files import decoded
from stagetrain.errors import DataError, known_names, suggestion

YAML_FILES = ('data.yaml', 'data.yml', 'dataset.yaml', 'dataset.yml')
NAME_FILES = ('classes.txt', 'obj.names', 'classes.names', '_darknet.labels', 'labels/classes.txt')
SPLITS = ('train', 'val', 'valid', 'test')
"""Names of splits that are looked for; `val` and `valid` stand for each other."""
_WHOLE = ('images', 'obj_train_data', '')
"""Folders with the images of a data set without splits."""
_MAX_YAML_BYTES = 2**20
_LABEL = re.compile(rb'\s*\d+(\s+-?[0-9.]+(e[+-]?\d+)?){4,}\s')
_NUM_TRIED = 50


@dataclasses.dataclass(frozen=True)
class Layout:
    """The images of a data set or split, by their names in `folder`, and the class names: () where it tells none.

    `decides` are the files and folders whose change can change which images these are, or the class names.
    """

    root: str
    folder: str
    images: tuple[str, ...]
    names: tuple[str, ...]
    decides: tuple[str, ...]

    def label_file(self, image: str) -> str | None:
        """Returns the file with the labels of an image; None: it has none, and so no objects."""
        return next((file for file in self.label_places(image) if os.path.isfile(file)), None)

    def label_places(self, image: str) -> Iterator[str]:
        """Yields where the labels of an image may lie: in `labels` for `images`, or beside it."""
        stem = os.path.splitext(os.path.join(self.folder, image))[0]
        parts = os.path.relpath(stem, self.root).split(os.sep)
        for place in reversed([index for index, part in enumerate(parts[:-1]) if part == 'images']):
            yield os.path.join(self.root, *parts[:place], 'labels', *parts[place + 1 :]) + '.txt'
        yield f'{stem}.txt'

    def orphans(self) -> list[str]:
        """Returns the files in the folder for labels that belong to no image."""
        folder = os.path.dirname(next(self.label_places('x.jpg')))
        if folder == self.folder or not os.path.isdir(folder):
            return []
        known = {place for image in self.images for place in self.label_places(image)}
        return [file for file in (os.path.join(folder, name) for name in walk(folder, '.txt')) if file not in known]


@dataclasses.dataclass(frozen=True)
class _Split:
    """Folders of images, and files that list some, below the root."""

    folders: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


def find(source: schema.DataSource) -> Layout:
    """Returns the layout of what `source` names.

    Raises:
      DataError: There is no such data set or split, it needs a split, or a file that describes it cannot be read.
    """
    root, described = _described(source.path)
    names = _class_names(source, root, described)
    known = _splits(root, described)
    if source.split is not None:
        alias = {'val': 'valid', 'valid': 'val'}.get(source.split, source.split)
        split = _split(root, described, source.split) or _split(root, described, alias)
        if split is None:
            shown = f'Known here: {known_names(known)}.{suggestion(source.split, known)}'
            raise DataError(f"{source.path}: no split '{source.split}'. {shown}")
    elif len(known) > 1:
        raise DataError(f'{source.path}: its folders are splits: set split to one of {", ".join(known)}')
    else:
        whole = next((folder for folder in _WHOLE if holds(os.path.join(root, folder), *SUFFIXES)), '')
        split = next(iter(known.values()), _Split((whole,)))
    try:
        return _layout(root, split, names)
    except Unusable as error:
        raise DataError(f'{source.path}: {error}') from error


def splits(path: str) -> tuple[str, ...]:
    """Returns the splits of a folder where it is a YOLO data set with several.

    Raises:
      DataError: A file that describes it cannot be read.
    """
    if described_by(path) is None or not os.path.isdir(path):
        return ()
    found = _splits(*_described(path))
    return tuple(found) if len(found) > 1 else ()


def needs_split(source: schema.DataSource) -> bool:
    """Returns whether a data set has several splits, and none is named."""
    try:
        return source.split is None and len(_splits(*_described(source.path))) > 1
    except DataError:
        return False  # What is wrong shows when it is read.


def described_by(path: str) -> str | None:
    """Returns what makes a path a YOLO data set, in words; None where nothing does."""
    if not os.path.isdir(path):
        is_description = path.endswith(('.yaml', '.yml')) and _is_description(path)
        return f'{path} names the classes and folders of a YOLO data set' if is_description else None
    for name in YAML_FILES:
        if _is_description(os.path.join(path, name)):
            return f"{path} holds {name} with the classes' names"
    for folder in ('.', *sorted(os.listdir(path))):
        place = os.path.normpath(os.path.join(path, folder))
        if holds(os.path.join(place, 'images'), *SUFFIXES) and holds(os.path.join(place, 'labels'), '.txt'):
            return f'{place} holds images and labels (.txt)'
    named = next((name for name in NAME_FILES if os.path.isfile(os.path.join(path, name))), None)
    return f"{path} holds {named} with the classes' names" if named and _holds_labels(path) else None


def _holds_labels(folder: str) -> bool:
    """Returns whether one of the first text files begins as labels do; others have a list of classes, too."""
    try:
        files = [os.path.join(folder, name) for name in itertools.islice(walk(folder, '.txt'), _NUM_TRIED)]
        return any(_LABEL.match(pathlib.Path(file).read_bytes()[:200]) for file in files)
    except (Unusable, OSError):
        return False


def _is_description(path: str) -> bool:
    try:
        return os.path.isfile(path) and 'names' in _content(path)
    except DataError:
        return False


def _described(path: str) -> tuple[str, dict[str, Any]]:
    """Returns the data set's folder, and what its YAML file says."""
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in YAML_FILES if os.path.isfile(os.path.join(path, name))]
        return os.path.abspath(path), _content(files[0]) if files else {}
    if not os.path.isfile(path):
        raise DataError(f'{path}: no such folder; expected the root of a YOLO data set, or its data.yaml')
    return os.path.dirname(os.path.abspath(path)), _content(path)


def _content(path: str) -> dict[str, Any]:
    try:
        with open(path, 'rb') as file:
            found = yaml.safe_load(decoded(file.read(_MAX_YAML_BYTES)))
    except (OSError, Unusable, yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f'{path}: cannot be read as the data.yaml of a YOLO data set: {error}') from error
    return found if isinstance(found, dict) else {}


def _class_names(source: schema.DataSource, root: str, described: dict[str, Any]) -> tuple[str, ...]:
    files = [os.path.join(root, name) for name in NAME_FILES if os.path.isfile(os.path.join(root, name))]
    if source.class_file is not None:
        files = [source.class_file]
        described = _content(source.class_file) if source.class_file.endswith(('.yaml', '.yml')) else {}
    if 'names' in described:
        names = _names_in(described['names'], source.class_file or source.path)
    else:
        names = _name_lines(files[0]) if files else []
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{source.class_file or source.path}: the class name '{twice[0]}' is given twice; names must differ")
    return tuple(names)


def _names_in(names: Any, place: str) -> list[str]:
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DataError(f'{place}: names: found the ids {known_names(map(str, names))}, expected 0 to {len(names) - 1}')
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f'{place}: names: found {str(names)[:60]}, expected a list of class names, or names by id')
    return [str(name) for name in names]


def _name_lines(path: str) -> list[str]:
    try:
        return [line.strip() for line in decoded(pathlib.Path(path).read_bytes()).splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}; expected one class name a line') from error
    except Unusable as error:
        raise DataError(f'{path}: {error}') from error


def _splits(root: str, described: dict[str, Any]) -> dict[str, _Split]:
    found: dict[str, _Split] = {}
    for name in SPLITS:
        split = _split(root, described, name)
        if split is not None and split not in found.values():
            found[name] = split
    return found


def _split(root: str, described: dict[str, Any], name: str) -> _Split | None:
    """Returns where a split's images are: as the YAML file says, or else in folders or a list of the usual names."""
    entries = described.get(name)
    given = [_below(root, entry) for entry in (entries if isinstance(entries, list) else [entries]) if isinstance(entry, str)]
    there = [entry for entry in given if entry is not None]
    if there:
        folders = tuple(entry for entry in there if os.path.isdir(os.path.join(root, entry)))
        return _Split(folders, tuple(entry for entry in there if entry not in folders))
    usual = (f'images/{name}', f'{name}/images', name, f'obj_{name}_data')
    folder = next((folder for folder in usual if holds(os.path.join(root, folder), *SUFFIXES)), None)
    if folder is not None:
        return _Split((folder,))
    return _Split(lists=(f'{name}.txt',)) if os.path.isfile(os.path.join(root, f'{name}.txt')) else None


def _below(root: str, entry: str) -> str | None:
    """Returns a place that the YAML file names, below `root` in any case; None where it is not there.

    Roboflow writes `../train/images` for `train/images`, others the folders of another machine: what stands in front is left out.
    """
    parts = [part for part in re.split(r'[\\/]', entry) if part not in ('', '.', '..')]
    tails = ('/'.join(parts[start:]) for start in range(len(parts)))
    return next((tail for tail in tails if os.path.exists(os.path.join(root, tail))), None)


def _layout(root: str, split: _Split, names: tuple[str, ...]) -> Layout:
    images = [os.path.join(place, name) for place in split.folders for name in walk(os.path.join(root, place), *SUFFIXES)]
    images += [name for file in split.lists for name in _listed(root, file)]
    shared = split.folders[0] if len(split.folders) == 1 and not split.lists else _shared_folder(images)
    folder = os.path.join(root, shared).rstrip(os.sep)
    images = [os.path.relpath(name, shared) if shared else name for name in images]
    inner = {os.path.join(folder, os.path.dirname(name)).rstrip(os.sep) for name in images}
    described = [os.path.join(root, name) for name in (*YAML_FILES, *NAME_FILES, *split.lists)]
    return Layout(root, folder, tuple(images), names, (*described, *sorted(inner | {folder})))


def _shared_folder(names: list[str]) -> str:
    folders = {os.path.dirname(name) for name in names}
    return folders.pop() if len(folders) == 1 else ''


def _listed(root: str, file: str) -> Iterator[str]:
    """Yields the images that a list names; CVAT's begin with `data/`, which is no folder."""
    try:
        lines = decoded(pathlib.Path(root, file).read_bytes()).splitlines()
    except Unusable as error:
        raise DataError(f'{os.path.join(root, file)}: {error}; one image a line is expected') from error
    for name in dict.fromkeys(line.strip() for line in lines):
        if name and not is_clutter(os.path.basename(name)):
            inner = name.partition('/')[2]
            is_there = os.path.isfile(os.path.join(root, name)) or not inner or name.startswith('/')
            yield name if is_there or '..' in name.split('/') else inner
