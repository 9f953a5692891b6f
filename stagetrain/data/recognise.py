"""`format: auto`: which registered format a path is of, and by what it was recognised.

source, reason = recognised(DataSource(format='auto', path='VOC2007'))
source.format, reason       # 'voc', 'VOC2007 holds Annotations and JPEGImages'
"""

from __future__ import annotations

import collections
import os

from stagetrain.config import schema, specs
from stagetrain.data.annotation import BadItem, Example
from stagetrain.data.places import is_clutter
from stagetrain.errors import ConfigError, DataError, suggestion

AUTO = 'auto'
NUM_SHOWN = 6
"""Folders and kinds of files that are named where nothing fits."""


def recognised(source: schema.DataSource) -> tuple[schema.DataSource, str]:
    """Returns the source with its format named, and by what it was recognised; a source that names its format is left as it is.

    Raises:
      DataError: No format, or more than one, fits.
      ConfigError: `images` or `class_file` is given, and the format does not read it.
    """
    if source.format != AUTO:
        return _reading_all_that_is_given(source), 'the format was given'
    found = [match for match in (_match(name, source) for name in specs.formats()) if match is not None]
    if len(found) == 1:
        return _reading_all_that_is_given(found[0][0]), found[0][1]
    if not found:
        asked = f' (split {source.split})' if source.split else ''
        known = ', '.join(name for name in specs.formats() if specs.data_format(name).recognise)
        raise DataError(f'{source.path}{asked}: format auto knows {known}, but {_seen(source)}')
    shown = '; '.join(f'{match.format} ({reason})' for match, reason in found)
    raise DataError(f'{source.path}: format auto finds more than one: {shown}. Set format to the one that is meant')


def _reading_all_that_is_given(source: schema.DataSource) -> schema.DataSource:
    for option in ('images', 'class_file'):
        text = specs.unread(source.format, option) if getattr(source, option) else None
        if text is not None:
            raise ConfigError(f'{source.path}: {option}: found {getattr(source, option)}, but {text}')
    return source


def is_data_set(path: str) -> bool:
    """Returns whether a path is of one of the formats, with or without a split."""
    source = schema.DataSource(format=AUTO, path=path)
    return any(_match(name, source) is not None for name in specs.formats()) or parts(source) != [source]


def parts(source: schema.DataSource) -> list[schema.DataSource]:
    """Returns a source for each split of a folder that is no data set without one, as Roboflow leaves them; else the source."""
    if source.split is not None or not os.path.isdir(source.path):
        return [source]
    for name in specs.formats() if source.format == AUTO else [source.format]:
        place = specs.data_format(name).splits
        splits: tuple[str, ...] = specs.load_implementation(place)(source) if place else ()
        if splits:
            return [source.model_copy(update={'format': name, 'split': split}) for split in splits]
    return [source]


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads by the reader of the recognised format.

    Raises:
      DataError: As `recognised` and that reader.
    """
    found, _ = recognised(source)
    reader = specs.load_implementation(specs.data_format(found.format).implementation)
    examples, bad = reader(found, classes, max_image_pixels)
    return examples, bad


def inputs(source: schema.DataSource) -> list[str]:
    """Returns what decides what `read` gives: the path itself and what the recognised format says.

    Raises:
      DataError: As `recognised` and that format.
    """
    found, _ = recognised(source)
    spec = specs.data_format(found.format)
    return [os.path.abspath(source.path), *(specs.load_implementation(spec.inputs)(found) if spec.inputs else [])]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the class names that a data set tells of itself, in the order of their ids where it has such.

    Raises:
      DataError: As `recognised`; or it tells none, or its format cannot.
    """
    found, _ = recognised(source)
    spec = specs.data_format(found.format)
    names: tuple[str, ...] = specs.load_implementation(spec.class_names)(found) if spec.class_names else ()
    if not names:
        raise DataError(f'{source.path}: no class names are found in it; give them')
    return names


def _match(name: str, source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    place = specs.data_format(name).recognise
    match: tuple[schema.DataSource, str] | None = specs.load_implementation(place)(source) if place else None
    return match


def _seen(source: schema.DataSource) -> str:
    """Returns what is at a path that no format fits, and what to do."""
    path = source.path
    if not os.path.lexists(path):
        folder, name = os.path.split(os.path.abspath(path))
        beside = os.listdir(folder) if os.path.isdir(folder) else []
        return f'nothing is there; give the format, or another path.{suggestion(name, beside)}'
    if os.path.islink(path) and not os.path.exists(path):
        return f'it is a link to {os.readlink(path)}, which is not there; restore what it leads to, or replace the link'
    splits = [part.split for part in parts(source) if part.split is not None and source.split is None]
    if splits:
        return f'it is none of them without a split; set split to one of {", ".join(splits)}'
    inner = _data_sets_in(path)
    remedy = f'name one of the data sets in it: {", ".join(inner)}' if inner else 'give the format, or another path'
    return f'it is none of them: {_in_words(path)}; {remedy}'


def _data_sets_in(path: str) -> list[str]:
    """Returns the folders of a folder that are data sets, as `VOCdevkit` holds them."""
    if not os.path.isdir(path):
        return []
    folders = sorted(entry.path for entry in os.scandir(path) if entry.is_dir() and not is_clutter(entry.name))
    sources = (schema.DataSource(format=AUTO, path=folder) for folder in folders[:NUM_SHOWN])
    return [source.path for source in sources if any(_match(name, source) for name in specs.formats())]


def _in_words(path: str) -> str:
    """Returns what a folder holds, or how a file begins."""
    if not os.path.isdir(path):
        with open(path, 'rb') as file:
            start = file.read(40)
        return f'a file that begins with {start!r}' if start else 'an empty file'
    with os.scandir(path) as entries:
        there = sorted((entry.is_dir(), entry.name) for entry in entries if not is_clutter(entry.name))
    folders = [name for is_folder, name in there if is_folder]
    kinds = collections.Counter(os.path.splitext(name)[1] or name for is_folder, name in there if not is_folder)
    files = [f'{count} {suffix}' for suffix, count in kinds.most_common(NUM_SHOWN)]
    shown = [f'the folders {", ".join(folders[:NUM_SHOWN])}'] if folders else []
    shown += [f'the files {", ".join(files)}'] if files else []
    return f'a folder with {" and ".join(shown)}' if shown else 'an empty folder'
