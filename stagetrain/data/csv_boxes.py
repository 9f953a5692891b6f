"""Reads CSV as keras-retinanet and keras-CenterNet do: one object a line, no header, coordinates in pixels.

    0001.jpg,10,20,110,220,cat        path,x1,y1,x2,y2,class
    0002.jpg,,,,,                     an image without objects

Paths are relative to `images` of the data source, or to the CSV's own folder; an absolute path must lie in there. `class_file`
names the class file (`cat,0`); without it `classes.csv` beside the CSV is one. Its ids give the order of classes where none is
asked for.

    examples, bad = read(DataSource(format='csv', path='annotations.csv'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

from stagetrain.config import schema
from stagetrain.data import csv_header, csv_lines
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable
from stagetrain.data.csv_lines import annotation_file
from stagetrain.data.image_lists import ListedObject
from stagetrain.errors import DataError


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
    class_file = csv_lines.class_file(source, file)
    known = csv_lines.classes_of(class_file) if class_file else None
    folder = source.images or str(file.parent)
    return csv_lines.read_objects(
        file,
        csv_lines.rows(file),
        lambda place, row: _object(place, row, folder, known),
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
    names = {row[5].strip() for _, row in csv_lines.rows(file) if len(row) == 6 and all(map(csv_lines.is_number, row[1:5]))}
    return tuple(sorted(names - {''}))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as CSV, and by what it was recognised; None when it is something else."""
    try:
        file = annotation_file(source)
    except DataError:
        return None
    if file.suffix != '.csv' or csv_header.has_header(file):
        return None
    return source.model_copy(update={'format': 'csv'}), f'{file} is a CSV file'


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the splits of a folder: its CSV files, or its folders with one each, that have no header."""
    return tuple(split for split, file in csv_lines.splits(source.path).items() if not csv_header.has_header(file))


def _object(place: str, row: list[str], folder: str, known: tuple[str, ...] | None) -> tuple[str, None, list[ListedObject]]:
    """Returns the image's name, and its object, or none for a line that says there is none."""
    evidence = csv_lines.evidence(row)
    if len(row) != 6:
        shown = ','.join(row)[:80]
        raise Unusable(place, f"expected 6 fields (path,x1,y1,x2,y2,class), found {len(row)}: '{shown}'", Kind.FIELDS, evidence)
    path, *edges, class_name = (field.strip() for field in row)
    name = csv_lines.name_in(folder, path, place)
    if not any(edges) and not class_name:
        return name, None, []
    if not class_name:
        raise Unusable(place, 'the class is empty, expected a name', Kind.FORM)
    xmin, ymin, xmax, ymax = (csv_lines.number(text, place, row) for text in edges)
    if known is not None and class_name not in known:
        raise Unusable(place, f"class '{class_name}' is not in the class file ({', '.join(known)})", Kind.CLASS, (class_name,))
    return name, None, [ListedObject(place, (ymin, xmin, ymax, xmax), class_name)]
