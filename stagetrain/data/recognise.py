"""`format: auto`: which registered format a path is of, and by what it was recognised.

source, reason = recognised(DataSource(format='auto', path='VOC2007'))
source.format, reason       # 'voc', 'VOC2007 holds Annotations and JPEGImages'
"""

from __future__ import annotations

import os

from stagetrain.config import schema, specs
from stagetrain.data.annotation import BadItem, Example
from stagetrain.errors import DataError

AUTO = 'auto'


def recognised(source: schema.DataSource) -> tuple[schema.DataSource, str]:
    """Returns the source with its format named, and by what it was recognised; a source that names its format is left as it is.

    Raises:
      DataError: No format, or more than one, fits.
    """
    if source.format != AUTO:
        return source, 'the format was given'
    found = [match for match in (_match(name, source) for name in specs.formats()) if match is not None]
    if len(found) == 1:
        return found[0]
    if not found:
        there = 'nothing is there' if not os.path.lexists(source.path) else 'it is none of them'
        asked = f' (split {source.split})' if source.split else ''
        known = ', '.join(name for name in specs.formats() if specs.data_format(name).recognise)
        raise DataError(f'{source.path}{asked}: format auto knows {known}, but {there}; give the format, or another path')
    shown = '; '.join(f'{match.format} ({reason})' for match, reason in found)
    raise DataError(f'{source.path}: format auto finds more than one: {shown}. Set format to the one that is meant')


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
