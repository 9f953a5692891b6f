"""Reads CSV as keras-retinanet and keras-CenterNet do: one object a line, no header, coordinates in pixels.

    0001.jpg,10,20,110,220,cat        path,x1,y1,x2,y2,class
    0002.jpg,,,,,                     an image without objects

Paths are relative to `images` of the data source, or to the CSV's own folder; an absolute path must lie in there. `class_file`
names the class file (`cat,0`); without it `classes.csv` beside the CSV is one. Its ids give the order of classes where none is
asked for.

    examples, bad = read(DataSource(format='csv', path='annotations.csv'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
from collections.abc import Iterator

from stagetrain.config import schema
from stagetrain.data.annotation import BadItem, Evidence, Example, Kind, Unusable
from stagetrain.data.listed import ListedImage, ListedObject, read_images
from stagetrain.data.places import is_clutter
from stagetrain.data.text_files import decoded
from stagetrain.errors import DataError, known_names, suggestion

CLASS_FILE = 'classes.csv'
_Row = tuple[int, list[str]]
_EVIDENCE_FIELDS, _EVIDENCE_LENGTH = 12, 40


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all lines; every image is decoded once, so that a broken one shows now.

    Args:
      source: `path` is the CSV, or a folder with `annotations.csv` or `SPLIT.csv`; `images` and `class_file` as said above.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: A file does not exist or is no CSV.
    """
    file = annotation_file(source)
    class_file = _class_file(source, file)
    known = _classes_of(class_file) if class_file else None
    folder = source.images or str(file.parent)
    listed: dict[str, ListedImage] = {}
    objects: dict[str, list[ListedObject]] = {}
    bad = []
    for line, row in _rows(file):
        try:
            name, found = _object(line, row, folder, known)
        except Unusable as error:
            bad.append(error.at(str(file)))
            continue
        listed.setdefault(name, ListedImage(f'line {line}', name, None, objects.setdefault(name, [])))
        objects[name] += found
    examples, more = read_images(str(file), folder, list(listed.values()), classes, max_image_pixels)
    return examples, bad + more


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files that decide, besides the images read, what `read` gives.

    Raises:
      DataError: One does not exist.
    """
    file = annotation_file(source)
    # The default class file counts although it may be missing: it may appear.
    return [str(file), source.class_file or str(file.parent / CLASS_FILE)]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the class file's names in the order of their ids; without one the names of the lines, sorted.

    Raises:
      DataError: As `read`.
    """
    file = annotation_file(source)
    class_file = _class_file(source, file)
    if class_file is not None:
        return _classes_of(class_file)
    names = {row[5].strip() for _, row in _rows(file) if len(row) == 6 and all(map(_is_number, row[1:5]))}
    return tuple(sorted(names - {''}))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as CSV, and by what it was recognised; None when it is something else."""
    try:
        file = annotation_file(source)
    except DataError:
        return None
    if file.suffix != '.csv':
        return None
    return source.model_copy(update={'format': 'csv'}), f'{file} is a CSV file'


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the names of a folder's CSV files, where there are several and none is called `annotations.csv`."""
    path = pathlib.Path(source.path)
    names = sorted(file.stem for file in path.glob('*.csv') if file.name != CLASS_FILE and not is_clutter(file.name))
    return tuple(names) if len(names) > 1 and 'annotations' not in names else ()


def annotation_file(source: schema.DataSource) -> pathlib.Path:
    """Returns the CSV that `source` names.

    Raises:
      DataError: There is none.
    """
    path = pathlib.Path(source.path)
    file = path / (f'{source.split}.csv' if source.split else 'annotations.csv') if path.is_dir() else path
    if not file.is_file():
        beside = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        there = known_names(name for name in beside if name.endswith('.csv'))
        raise DataError(f'{file}: no such file; CSV files beside it: {there}.{suggestion(file.name, beside)}')
    return file


def _class_file(source: schema.DataSource, file: pathlib.Path) -> pathlib.Path | None:
    if source.class_file is not None:
        return pathlib.Path(source.class_file)
    beside = file.parent / CLASS_FILE
    return beside if beside.is_file() and beside != file else None


def _rows(file: pathlib.Path) -> Iterator[_Row]:
    """Yields line number (of a record's last line) and fields; empty lines are passed over."""
    try:
        text = decoded(file.read_bytes())
    except OSError as error:
        raise DataError(f'{file}: cannot be read: {error.strerror}; expected a CSV file') from error
    except Unusable as error:
        raise DataError(f'{file}: {error}') from error
    reader = csv.reader(io.StringIO(text, newline=''), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f'{file}: line {reader.line_num}: not CSV: {error}') from error


def _classes_of(file: pathlib.Path) -> tuple[str, ...]:
    ids: dict[str, int] = {}
    for line, row in _rows(file):
        name = row[0].strip()
        if len(row) != 2 or not name or not row[1].strip().isdecimal():
            raise DataError(f"{file}: line {line}: expected 'name,id' with an id from 0, found '{','.join(row)[:80]}'")
        number = int(row[1])
        if name in ids or number in ids.values():
            raise DataError(f"{file}: line {line}: name '{name}' or id {number} is given twice; both must differ")
        ids[name] = number
    if not ids:
        raise DataError(f"{file}: the class file is empty; expected lines 'name,id'")
    return tuple(sorted(ids, key=lambda name: ids[name]))


def _object(line: int, row: list[str], folder: str, known: tuple[str, ...] | None) -> tuple[str, list[ListedObject]]:
    """Returns the image's name, and its object, or none for a line that says there is none."""
    place = f'line {line}'
    evidence = tuple(field[:_EVIDENCE_LENGTH] for field in row[:_EVIDENCE_FIELDS])
    if len(row) != 6:
        shown = ','.join(row)[:80]
        raise Unusable(place, f"expected 6 fields (path,x1,y1,x2,y2,class), found {len(row)}: '{shown}'", Kind.FIELDS, evidence)
    path, *edges, class_name = (field.strip() for field in row)
    if not path:
        raise Unusable(place, 'the path is empty, expected the name of an image', Kind.FORM)
    name = _relative(path, folder)
    if not any(edges) and not class_name:
        return name, []
    if not class_name:
        raise Unusable(place, 'the class is empty, expected a name', Kind.FORM)
    xmin, ymin, xmax, ymax = (_number(text, place, evidence) for text in edges)
    if known is not None and class_name not in known:
        raise Unusable(place, f"class '{class_name}' is not in the class file ({', '.join(known)})", Kind.CLASS, (class_name,))
    return name, [ListedObject(place, (ymin, xmin, ymax, xmax), class_name)]


def _relative(path: str, folder: str) -> str:
    """Returns the path as a name in `folder`, which may itself be a link to where an absolute path says the images lie."""
    path = path.replace('\\', '/')
    if not os.path.isabs(path):
        return os.path.normpath(path)
    names = [os.path.relpath(path, folder) for folder in (os.path.abspath(folder), os.path.realpath(folder))]
    return next((name for name in names if name.split('/')[0] != '..'), path)


def _number(text: str, place: str, evidence: Evidence) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise Unusable(place, f"expected a number, found '{text}'", Kind.NOT_A_NUMBER, evidence) from error


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
