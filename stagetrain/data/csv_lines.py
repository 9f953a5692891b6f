"""CSV files of any form: their lines, numbers and names of images, and class files (`name,id`).

for line, row in rows(pathlib.Path('annotations.csv')): ...     # 1, ['0001.jpg', '10', '20', '110', '220', 'cat']
"""

from __future__ import annotations

import csv
import io
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from stagetrain.config import schema
from stagetrain.data.annotation import BadItem, Evidence, Example, Kind, Unusable
from stagetrain.data.image_lists import ListedImage, ListedObject, read_images
from stagetrain.data.places import is_clutter
from stagetrain.data.text_files import decoded
from stagetrain.errors import DataError, known_names, suggestion

CLASS_FILE = 'classes.csv'
EVIDENCE_FIELDS, _EVIDENCE_LENGTH = 12, 40


def rows(file: pathlib.Path) -> Iterator[tuple[int, list[str]]]:
    """Yields line number (of a record's last line) and fields; empty lines are passed over.

    Raises:
      DataError: The file cannot be read, or is no CSV in UTF-8.
    """
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


def first_row(file: pathlib.Path) -> list[str]:
    """Returns the first line's fields; none where the file is empty or no CSV."""
    try:
        return next(rows(file), (0, []))[1]
    except DataError:
        return []


def annotation_file(source: schema.DataSource) -> pathlib.Path:
    """Returns the CSV that `source` names.

    In a folder it is `SPLIT.csv` or `SPLIT/_annotations.csv`; without a split `annotations.csv`, `_annotations.csv`, or the only
    one there.

    Raises:
      DataError: There is none.
    """
    path = pathlib.Path(source.path)
    if not path.is_dir():
        found = [path]
    elif source.split:
        found = [path / f'{source.split}.csv', path / source.split / '_annotations.csv']
    else:
        found = [path / 'annotations.csv', path / '_annotations.csv', *(files := csv_files(path))[: len(files) == 1]]
    file = next((file for file in found if file.is_file()), None)
    if file is None:
        beside = [entry.name for entry in found[0].parent.iterdir()] if found[0].parent.is_dir() else []
        there = known_names(name for name in beside if name.endswith('.csv'))
        raise DataError(f'{found[0]}: no such file; CSV files beside it: {there}.{suggestion(found[0].name, beside)}')
    return file


def csv_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the CSV files in a folder, sorted, but for the class file."""
    return sorted(file for file in folder.glob('*.csv') if file.name != CLASS_FILE and not is_clutter(file.name))


def splits(path: str) -> dict[str, pathlib.Path]:
    """Returns a folder's splits with their files: several CSV files of which none is for all, or folders with one each."""
    folder = pathlib.Path(path)
    if not folder.is_dir() or any((folder / name).is_file() for name in ('annotations.csv', '_annotations.csv')):
        return {}
    inner = {file.parent.name: file for file in sorted(folder.glob('*/_annotations.csv')) if not is_clutter(file.parent.name)}
    files = csv_files(folder)
    return inner or ({file.stem: file for file in files} if len(files) > 1 else {})


def class_file(source: schema.DataSource, file: pathlib.Path) -> pathlib.Path | None:
    """Returns the class file that is named, or else the one beside an annotation file."""
    if source.class_file is not None:
        return pathlib.Path(source.class_file)
    beside = file.parent / CLASS_FILE
    return beside if beside.is_file() and beside != file else None


def classes_of(file: pathlib.Path) -> tuple[str, ...]:
    """Returns the names of a class file in the order of their ids.

    Raises:
      DataError: It is no class file.
    """
    ids: dict[str, int] = {}
    for line, row in rows(file):
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


def evidence(row: Sequence[str]) -> Evidence:
    """Returns the fields of a line, as far as a cause may be worked out from them."""
    return tuple(field[:_EVIDENCE_LENGTH] for field in row[:EVIDENCE_FIELDS])


def name_in(folder: str, path: str, place: str) -> str:
    """Returns a path as a name in `folder`, which may itself be a link to where an absolute path says the images lie.

    Raises:
      Unusable: The path is empty.
    """
    if not path:
        raise Unusable(place, 'the path is empty, expected the name of an image', Kind.FORM)
    path = path.replace('\\', '/')
    if not os.path.isabs(path):
        return os.path.normpath(path)
    names = [os.path.relpath(path, folder) for folder in (os.path.abspath(folder), os.path.realpath(folder))]
    return next((name for name in names if name.split('/')[0] != '..'), path)


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files that decide, besides the images read, what a CSV data set gives.

    Raises:
      DataError: One does not exist.
    """
    file = annotation_file(source)
    # The default class file counts although it may be missing: it may appear.
    return [str(file), source.class_file or str(file.parent / CLASS_FILE)]


def read_objects(
    file: pathlib.Path,
    lines: Iterable[tuple[int, list[str]]],
    object_of: Callable[[str, list[str]], tuple[str, tuple[float, float] | None, list[ListedObject]]],
    folder: str,
    classes: tuple[str, ...],
    max_image_pixels: int,
) -> tuple[list[Example], list[BadItem]]:
    """Reads the objects of all lines, and the images that they name; as `read` of a format.

    Args:
      file: the CSV, for errors.
      lines: line number, fields.
      object_of: place and fields -> the image's name, its stated (height, width) or None, and its object, or none for a line that
        says there is none. It raises `Unusable`.
      folder: of the images.
      classes: as for `read`.
      max_image_pixels: as for `read`.
    """
    listed: dict[str, ListedImage] = {}
    objects: dict[str, list[ListedObject]] = {}
    bad = []
    for line, row in lines:
        try:
            name, size, found = object_of(f'line {line}', row)
        except Unusable as error:
            bad.append(error.at(str(file)))
            continue
        listed.setdefault(name, ListedImage(f'line {line}', name, size, objects.setdefault(name, [])))
        objects[name] += found
    examples, more = read_images(str(file), folder, list(listed.values()), classes, max_image_pixels)
    return examples, bad + more


def number(text: str, place: str, row: Sequence[str]) -> float:
    """Returns the number that a field of a line holds; raises `Unusable` where it holds none."""
    try:
        return float(text)
    except ValueError as error:
        raise Unusable(place, f"expected a number, found '{text}'", Kind.NOT_A_NUMBER, evidence(row)) from error


def is_number(text: str) -> bool:
    """Returns whether a field holds a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
