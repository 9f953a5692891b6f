"""Reads YOLO's labels: one text file an image, one object a line, in shares of the image, in the layouts of `yolo_layout`.

    0 0.5 0.5 0.25 0.4                  class id (from 0), centre x and y, width, height
    1 0.1 0.1 0.4 0.1 0.4 0.3           class id, polygon: its box counts, and with `masks: true` its mask

Images without a label file have no objects. Class names are those of data.yaml, classes.txt or obj.names; without one ids count
in the order of `data.classes`.

    examples, bad = read(DataSource(format='yolo', path='dataset', split='train'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
import yaml

from stagetrain.config import schema
from stagetrain.data import masks, yolo_layout
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable
from stagetrain.data.csv_lines import evidence, number
from stagetrain.data.image_lists import ListedImage, ListedObject, read_images
from stagetrain.data.text_files import decoded
from stagetrain.data.writers import Part, Writer, write_images
from stagetrain.errors import DataError


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all images and labels; every image is decoded once, so that a broken one shows now.

    Args:
      source: `path` is the data set's folder or its data.yaml; `split`; `class_file` with the names, one a line.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: There is no such data set or split, or a file that describes it cannot be read.
    """
    layout = yolo_layout.find(source)
    names = layout.names or classes
    listed, bad = [], []
    for image in layout.images:
        file = layout.label_file(image)
        objects, faulty = _objects(file, names, source.masks) if file else ([], [])
        listed.append(ListedImage('', image, None, objects, file or os.path.join(layout.folder, image)))
        bad += faulty
    if not listed:
        raise DataError(f'{layout.folder}: expected images (.jpg, .png, .bmp), found none')
    reason = f'labels without an image: expected one of that name in {layout.folder}'
    bad += [BadItem(file, '', reason, Kind.MISSING) for file in layout.orphans()]
    examples, more = read_images(source.path, layout.folder, listed, classes, max_image_pixels, with_masks=source.masks)
    return examples, bad + more


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files and folders that decide, besides the images read, what `read` gives.

    Raises:
      DataError: As `read`.
    """
    layout = yolo_layout.find(source)
    labels = [file for image in layout.images for file in layout.label_places(image)]
    folders = {os.path.dirname(file) for file in labels}
    return [*layout.decides, *([source.class_file] if source.class_file else []), *sorted(folders), *labels]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the class names in the order of their ids; () where no file tells them.

    Raises:
      DataError: As `read`.
    """
    return yolo_layout.find(source).names


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as YOLO's, and by what it was recognised; None when it is something else."""
    reason = yolo_layout.described_by(source.path)
    if reason is None or (os.path.isdir(source.path) and yolo_layout.needs_split(source)):
        return None
    return source.model_copy(update={'format': 'yolo'}), reason


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the splits of a data set that has several."""
    return yolo_layout.splits(source.path)


def _objects(file: str, names: Sequence[str], with_masks: bool) -> tuple[list[ListedObject], list[BadItem]]:
    objects, bad = [], []
    try:
        lines = decoded(pathlib.Path(file).read_bytes()).splitlines()
    except Unusable as error:
        return [], [error.at(file)]
    for line, text in enumerate(lines, 1):
        try:
            objects += [_object(text.split(), f'line {line}', names, with_masks)] if text.strip() else []
        except Unusable as error:
            bad.append(error.at(file))
    return objects, bad


def _object(fields: list[str], place: str, names: Sequence[str], with_masks: bool) -> ListedObject:
    if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
        hint = ': is the last one a confidence? Labels have none' if len(fields) == 6 else ''
        reason = f'expected 5 fields (class x y width height) or a polygon (class x y x y x y ...), found {len(fields)}{hint}'
        raise Unusable(place, reason, Kind.FIELDS, evidence(fields))
    values = [number(text, place, [text]) for text in fields]
    if values[0] not in range(len(names)):
        shown = (
            ', '.join(f'{number} ({name})' for number, name in list(enumerate(names))[:10]) or 'none: no class names are known'
        )
        raise Unusable(place, f'found class {fields[0]}, expected one of {shown}', Kind.LABEL, (values[0],))
    x, y = values[1::2], values[2::2]
    box = (min(y), min(x), max(y), max(x))
    if len(fields) == 5:
        (x_centre, width), (y_centre, height) = x, y
        box = (y_centre - height / 2, x_centre - width / 2, y_centre + height / 2, x_centre + width / 2)
    mask = functools.partial(_mask, values[1:], element=place) if with_masks else None
    return ListedObject(place, box, names[int(values[0])], mask=mask, is_normalised=True)


def _mask(values: Sequence[float], height: int, width: int, element: str) -> str:
    if len(values) < 6:
        raise Unusable(element, 'expected a polygon (class x y x y x y ...), found a box: it has no mask', Kind.FORM)
    polygon = [value * (width if index % 2 == 0 else height) for index, value in enumerate(values)]
    return masks.from_segmentation([polygon], height, width, element)


def _write_part(folder: pathlib.Path, part: Part) -> None:
    write_images(folder / 'images' / part.split, part)
    for example in part.examples:
        file = folder / 'labels' / part.split / f'{example.image_id}.txt'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(''.join(f'{line}\n' for line in _lines(example)), encoding='utf-8')


def _lines(example: Example) -> list[str]:
    """Returns the labels; 17 digits give the same float32 pixels again."""
    ymin, xmin, ymax, xmax = example.boxes_yxyx_px.astype(np.float64).T
    columns = (xmin + xmax) / 2 / example.width, (ymin + ymax) / 2 / example.height
    sides = (xmax - xmin) / example.width, (ymax - ymin) / example.height
    rows = zip(example.classes.tolist(), *(column.tolist() for column in (*columns, *sides)), strict=True)
    return [' '.join([str(class_number - 1), *map(repr, values)]) for class_number, *values in rows]


def _finish(folder: pathlib.Path, whole: Part) -> None:
    content = {whole.split: f'images/{whole.split}', 'names': dict(enumerate(whole.classes))}
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / 'data.yaml').write_text(text, encoding='utf-8')


def _source(folder: pathlib.Path, split: str) -> schema.DataSource:
    return schema.DataSource(format='yolo', path=str(folder), split=split)


WRITER = Writer(_write_part, _finish, _source, keeps_flags=False)
