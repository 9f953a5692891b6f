"""CSV whose header names its columns: one object a line, in pixels, as for the Object Detection API and from Roboflow.

    filename,width,height,class,xmin,ymin,xmax,ymax
    0001.jpg,640,480,cat,10,20,110,220
    0002.jpg,640,480,,,,,                              an image without objects

Columns stand in any order and may have other names (`NAMES`), also x and y with the box's width and height. `width` and `height`
beside edges are the image's and are compared with it. Columns that mean nothing here are passed over. Classes are those of the
lines, sorted, or of a class file (`csv_lines`).

    examples, bad = read(DataSource(format='csv_header', path='train_labels.csv'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from stagetrain.config import schema
from stagetrain.data import csv_lines
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable
from stagetrain.data.csv_lines import CLASS_FILE, annotation_file
from stagetrain.data.image_lists import ListedObject, image_folder
from stagetrain.data.writers import Part, Writer, decimal, write_csv, write_images
from stagetrain.errors import DataError, known_names

NAMES = {
    'path': ('filename', 'file', 'path', 'filepath', 'image', 'imagename', 'imagepath', 'imagefile', 'imageid', 'img'),
    'class': ('class', 'label', 'classname', 'labelname', 'category', 'name', 'object'),
    'xmin': ('xmin', 'x1', 'left', 'bboxxmin', 'bboxx1'),
    'ymin': ('ymin', 'y1', 'top', 'bboxymin', 'bboxy1'),
    'xmax': ('xmax', 'x2', 'right', 'bboxxmax', 'bboxx2'),
    'ymax': ('ymax', 'y2', 'bottom', 'bboxymax', 'bboxy2'),
    'x': ('x', 'bboxx', 'bx'),
    'y': ('y', 'bboxy', 'by'),
    'box width': ('w', 'bboxwidth', 'bboxw', 'boxwidth', 'bw'),
    'box height': ('h', 'bboxheight', 'bboxh', 'boxheight', 'bh'),
    'width': ('width', 'imagewidth', 'imgwidth'),
    'height': ('height', 'imageheight', 'imgheight'),
    'difficult': ('difficult',),
    'is_crowd': ('iscrowd', 'crowd'),
}
"""What a column holds -> how it may be called, without case, blanks and signs; the first that is there counts."""
_EDGES = ('xmin', 'ymin', 'xmax', 'ymax')
_SIZED = ('x', 'y', 'box width', 'box height')
_OPEN_IMAGES = {'imageid', 'labelname', 'xmin', 'isgroupof'}
_HEADER = ['filename', 'width', 'height', 'class', *_EDGES]
_FLAGS = {'': False, '0': False, 'false': False, '0.0': False, '1': True, 'true': True, '1.0': True}


@dataclasses.dataclass(frozen=True)
class _Columns:
    """Where each value stands in a line; `is_sized`: boxes are x, y, width, height."""

    places: dict[str, int]
    count: int
    is_sized: bool

    def text(self, row: Sequence[str], name: str) -> str:
        """Returns a value as it stands, '' where the file has no such column."""
        return row[self.places[name]].strip() if name in self.places else ''


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all lines; every image is decoded once, so that a broken one shows now.

    Args:
      source: `path` is the CSV, or a folder with one (`csv_lines.annotation_file`); `images` the image folder; `class_file`.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: A file does not exist, is no CSV, or its header lacks a column.
    """
    file = annotation_file(source)
    columns = _columns_of(file)
    folder = source.images or image_folder(file, file.stem, (columns.text(row, 'path') for _, row in _lines(file, columns.count)))
    return csv_lines.read_objects(
        file,
        _lines(file),
        lambda place, row: _object(place, row, columns, folder),
        folder,
        classes,
        max_image_pixels,
    )


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the class file's names in the order of their ids; without one the names of the lines, sorted.

    Raises:
      DataError: As `read`.
    """
    file = annotation_file(source)
    class_file = csv_lines.class_file(source, file)
    if class_file is not None:
        return csv_lines.classes_of(class_file)
    columns = _columns_of(file)
    return tuple(sorted({columns.text(row, 'class') for _, row in _lines(file, columns.count)} - {''}))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path`, and by what it was recognised; None when it is something else."""
    try:
        file = annotation_file(source)
    except DataError:
        return None
    if file.suffix != '.csv' or not has_header(file):
        return None
    return source.model_copy(update={'format': 'csv_header'}), f'{file} is a CSV file whose header names its columns'


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the splits of a folder: its CSV files, or its folders with one each, whose header names the columns."""
    return tuple(split for split, file in csv_lines.splits(source.path).items() if has_header(file))


def has_header(file: pathlib.Path) -> bool:
    """Returns whether the first line of a CSV file names all columns that a box needs."""
    return not _missing(_places(csv_lines.first_row(file)))


def _plain(name: str) -> str:
    return re.sub(r'[^0-9a-z]', '', name.casefold())


def _places(header: Sequence[str]) -> dict[str, int]:
    plain = [_plain(name) for name in header]
    found = {what: next((plain.index(name) for name in names if name in plain), None) for what, names in NAMES.items()}
    places = {what: place for what, place in found.items() if place is not None}
    if not set(_EDGES) <= places.keys() and {'x', 'y', 'width', 'height'} <= places.keys():
        places.setdefault('box width', places.pop('width'))
        places.setdefault('box height', places.pop('height'))
    return places


def _missing(places: dict[str, int]) -> list[str]:
    boxes = min((set(_EDGES) - places.keys(), set(_SIZED) - places.keys()), key=len)
    return sorted(boxes | ({'path', 'class'} - places.keys()))


def _columns_of(file: pathlib.Path) -> _Columns:
    header = csv_lines.first_row(file)
    places = _places(header)
    missing = _missing(places)
    if missing:
        known = '; '.join(f'{what}: {", ".join(NAMES[what])}' for what in missing)
        raise DataError(f'{file}: line 1: the header has {known_names(header)}, expected columns also for {known}')
    if {_plain(name) for name in header} >= _OPEN_IMAGES:
        raise DataError(
            f'{file}: line 1: the header is that of Open Images, whose boxes are fractions of the image and whose images have no '
            f'suffix; expected boxes in pixels and names of files. Write the lines as {",".join(_HEADER)}'
        )
    return _Columns(places, len(header), not set(_EDGES) <= places.keys())


def _lines(file: pathlib.Path, count: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yields the lines behind the header; with a `count` only those of so many fields."""
    rows = itertools.islice(csv_lines.rows(file), 1, None)
    return ((line, row) for line, row in rows if count is None or len(row) == count)


def _object(
    place: str, row: list[str], columns: _Columns, folder: str
) -> tuple[str, tuple[float, float] | None, list[ListedObject]]:
    """Returns the image's name, its stated size, and its object, or none for a line that says there is none."""
    if len(row) != columns.count:
        reason = f"expected {columns.count} fields as in the header, found {len(row)}: '{','.join(row)[:80]}'"
        raise Unusable(place, reason, Kind.FIELDS, csv_lines.evidence(row))
    name = csv_lines.name_in(folder, columns.text(row, 'path'), place)
    stated = [columns.text(row, what) for what in ('height', 'width')]
    height, width = (csv_lines.number(text, place, [text]) if all(stated) else 0.0 for text in stated)
    size = (height, width) if all(stated) else None
    numbers = [columns.text(row, what) for what in (_SIZED if columns.is_sized else _EDGES)]
    class_name = columns.text(row, 'class')
    if not any(numbers):
        return name, size, []
    if not class_name:
        raise Unusable(place, 'the class is empty, expected a name', Kind.FORM)
    x, y, right, bottom = (csv_lines.number(text, place, [text]) for text in numbers)
    box = (y, x, y + bottom, x + right) if columns.is_sized else (y, x, bottom, right)
    difficult, is_crowd = (_flag(columns.text(row, what), what, place) for what in ('difficult', 'is_crowd'))
    return name, size, [ListedObject(place, box, class_name, difficult, is_crowd)]


def _flag(text: str, name: str, place: str) -> bool:
    if text.casefold() not in _FLAGS:
        raise Unusable(place, f"{name}: expected 0 or 1, found '{text}'", Kind.FORM)
    return _FLAGS[text.casefold()]


def _finish(folder: pathlib.Path, whole: Part) -> None:
    flagged = any((example.difficult | example.is_crowd).any() for example in whole.examples)
    lines: list[list[Any]] = [_HEADER + (['difficult', 'is_crowd'] if flagged else [])]
    for example, suffix in zip(whole.examples, whole.suffixes, strict=True):
        start = [f'{example.image_id}{suffix}', str(example.width), str(example.height)]
        flags = np.stack([example.difficult, example.is_crowd], 1).astype(int)
        for box, number, given in zip(example.boxes_yxyx_px, example.classes, flags, strict=True):
            ymin, xmin, ymax, xmax = map(decimal, box)
            edges = [whole.classes[number - 1], xmin, ymin, xmax, ymax]
            lines.append([*start, *edges, *(map(str, given) if flagged else ())])
        if not len(example.classes):
            lines.append(start + [''] * (len(lines[0]) - len(start)))
    write_csv(folder / 'annotations.csv', lines)
    write_csv(folder / CLASS_FILE, [[name, str(number)] for number, name in enumerate(whole.classes)])


def _source(folder: pathlib.Path, split: str) -> schema.DataSource:
    del split
    file, class_file = folder / 'annotations.csv', folder / CLASS_FILE
    return schema.DataSource(format='csv_header', path=str(file), images=str(folder), class_file=str(class_file))


WRITER = Writer(write_images, _finish, _source)
