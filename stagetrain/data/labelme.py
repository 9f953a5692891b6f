"""Reads LabelMe's JSON: one file an image, with shapes in pixels.

    {"shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[10, 20], [110, 220]], "group_id": null, "flags": {}}],
     "imagePath": "0001.jpg", "imageHeight": 480, "imageWidth": 640}

Rectangles, polygons and circles become boxes; shapes of one label and `group_id` become one. Polygons are read as masks where the
data source says `masks: true`. `difficult` and `is_crowd` are read where `flags` or a shape has them. `imagePath` is relative to
the JSON and may lead to another folder of the data set; where its folder or suffix is wrong, the image of the JSON's own name is
taken. An image in `imageData` is not read.

    examples, bad = read(DataSource(format='labelme', path='labelled'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from stagetrain.config import schema
from stagetrain.data import images, masks
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable
from stagetrain.data.image_lists import ListedImage, ListedObject, read_images
from stagetrain.data.places import SPLIT_FOLDERS, Places, is_clutter, walk
from stagetrain.data.text_files import decoded, json_number
from stagetrain.data.writers import Part, Writer, write_images
from stagetrain.errors import DataError, known_names, suggestion

_WITHOUT_BOX = ('point', 'points', 'line', 'linestrip')
_NUM_TRIED = 20
"""So many JSON files are looked at to recognise a folder."""


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all files; every image is decoded once, so that a broken one shows now.

    Args:
      source: `path` is the folder or one JSON; `split` a folder in it.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: There is no such folder or file, or no JSON in it.
    """
    root, names = _files(source)
    places = Places(root)
    listed, bad = [], []
    for name in names:
        file = os.path.join(root, name)
        try:
            content = _content(file)
            objects, faulty = _objects(file, content, source.masks)
            listed.append(ListedImage('', _image(places, name, content), _size(content), objects, file, name))
        except Unusable as error:
            bad.append(error.at(file))
            continue
        bad += faulty
    listed = _with_keys(listed)
    examples, more = read_images(source.path, root, listed, classes, max_image_pixels, with_masks=source.masks)
    return examples, bad + more


def _with_keys(listed: list[ListedImage]) -> list[ListedImage]:
    """Gives each image the id that its JSON's name is; without a folder that all of them and no image lie in."""
    folders = {os.path.dirname(str(image.key)) for image in listed}
    folder = folders.pop() if len(folders) == 1 else ''
    start = '' if any(os.path.dirname(image.name) == folder for image in listed) else folder
    keys = [os.path.relpath(str(image.key)[: -len('.json')], start or '.') for image in listed]
    return [dataclasses.replace(image, key=key) for image, key in zip(listed, keys, strict=True)]


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files and folders that decide, besides the images read, what `read` gives.

    Raises:
      DataError: As `read`.
    """
    root, names = _files(source)
    folders = {os.path.join(root, os.path.dirname(name)).rstrip(os.sep) for name in names}
    return [root, *sorted(folders), *(os.path.join(root, name) for name in names)]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the labels of the shapes that have a box, sorted; files that cannot be read are passed over.

    Raises:
      DataError: As `read`.
    """
    root, names = _files(source)
    found: set[str] = set()
    for name in names:
        try:
            found |= {one.class_name for one in _objects(name, _content(os.path.join(root, name)), False)[0]}
        except Unusable:
            continue
    return tuple(sorted(found))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as LabelMe's, and by what it was recognised; None when it is something else."""
    try:
        root, names = _files(source)
    except DataError:
        return None
    found = next((name for name in names[:_NUM_TRIED] if _looks_like_it(os.path.join(root, name))), None)
    if found is None:
        return None
    return source.model_copy(update={'format': 'labelme'}), f'{os.path.join(root, found)} is a JSON file with shapes'


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the folders of which each is a split, where no JSON lies beside them."""
    if any(name.endswith('.json') and not is_clutter(name) for name in os.listdir(source.path)):
        return ()
    names = sorted(name for name in os.listdir(source.path) if name.lower() in SPLIT_FOLDERS)
    return tuple(name for name in names if recognise(source.model_copy(update={'split': name})) is not None)


def _files(source: schema.DataSource) -> tuple[str, list[str]]:
    """Returns the data set's folder and the JSON files in it, by their names relative to it."""
    path = os.path.abspath(source.path)
    if os.path.isfile(path):
        return os.path.split(path)[0], [os.path.basename(path)]
    root = os.path.join(path, source.split) if source.split else path
    if not os.path.isdir(root):
        beside = sorted(os.listdir(path)) if os.path.isdir(path) else []
        shown = f' Known here: {known_names(beside)}.{suggestion(source.split or "", beside)}' if source.split else ''
        raise DataError(f'{root}: no such folder; expected JSON files of LabelMe.{shown}')
    try:
        names = list(walk(root, '.json'))
    except Unusable as error:
        raise DataError(f'{root}: {error}') from error
    if not names:
        raise DataError(f'{root}: expected JSON files of LabelMe, found none')
    return root, names


def _looks_like_it(file: str) -> bool:
    try:
        content = pathlib.Path(file).read_bytes()
    except OSError:
        return False
    return content[:64].lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'{') and b'"shapes"' in content and b'"imagePath"' in content


def _content(file: str) -> Mapping[str, Any]:
    try:
        content = json.loads(decoded(pathlib.Path(file).read_bytes()))
    except OSError as error:
        raise Unusable('', f'cannot be read: {error.strerror}', Kind.MISSING) from error
    except (ValueError, RecursionError) as error:
        raise Unusable('', f'expected JSON of LabelMe, but it is no JSON: {error}', Kind.FORM) from error
    if not isinstance(content, dict) or not isinstance(content.get('shapes'), list):
        found = known_names(content) if isinstance(content, dict) else type(content).__name__
        raise Unusable('', f'expected JSON of LabelMe, an object with a list shapes; found: {found[:80]}', Kind.FORM)
    return content


def _image(places: Places, name: str, content: Mapping[str, Any]) -> str:
    """Returns the image's name in the data set's folder: as the file says, or the one of the file's own name."""
    stem = name[: -len('.json')]
    given = content.get('imagePath')
    fault = Unusable('imagePath', f"names no image, and none is called '{stem}'", Kind.MISSING)
    if isinstance(given, str) and given:
        given = given.replace('\\', '/')
        inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), given))
        try:
            return os.path.relpath(places.file('', inner, 'imagePath'), places.root)
        except Unusable as error:
            if error.kind != Kind.MISSING:
                raise
            fault = error
    own = places.named('', stem, images.SUFFIXES)
    is_alike = not given or posixpath.splitext(posixpath.basename(str(given)))[0] == posixpath.basename(stem)
    if len(own) != 1 or not is_alike:
        raise fault
    return os.path.relpath(own[0], places.root)


def _size(content: Mapping[str, Any]) -> tuple[float, float] | None:
    height, width = content.get('imageHeight'), content.get('imageWidth')
    if height is None or width is None:
        return None
    return json_number(height, 'imageHeight'), json_number(width, 'imageWidth')


def _objects(file: str, content: Mapping[str, Any], with_masks: bool) -> tuple[list[ListedObject], list[BadItem]]:
    """Returns the objects, of which each may have several shapes, and what is wrong with shapes."""
    shapes: dict[Any, list[tuple[str, Mapping[str, Any]]]] = {}
    bad = []
    for index, shape in enumerate(content['shapes']):
        place = f'shapes[{index}]'
        if not isinstance(shape, dict) or not isinstance(shape.get('label'), str) or not shape['label']:
            bad.append(Unusable(place, f'expected a shape with a label, found {json.dumps(shape)[:80]}', Kind.FORM).at(file))
            continue
        group = shape.get('group_id')
        key = (shape['label'], group) if isinstance(group, int | str) else index
        shapes.setdefault(key, []).append((place, shape))
    objects = []
    for group_of_shapes in shapes.values():
        try:
            objects.append(_object(group_of_shapes, with_masks))
        except Unusable as error:
            bad.append(error.at(file))
    return objects, bad


def _object(shapes: list[tuple[str, Mapping[str, Any]]], with_masks: bool) -> ListedObject:
    place, first = shapes[0]
    points = [point for place, shape in shapes for point in _corners(place, shape)]
    x, y = zip(*points, strict=True)
    difficult, is_crowd = (any(_flag(place, shape, name) for place, shape in shapes) for name in ('difficult', 'is_crowd'))
    mask = functools.partial(_mask, shapes, element=place) if with_masks else None
    return ListedObject(place, (min(y), min(x), max(y), max(x)), first['label'], difficult, is_crowd, mask)


def _corners(place: str, shape: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    """Yields points (x, y) that span the box of a shape."""
    kind = shape.get('shape_type') or 'polygon'
    points = _points(place, shape)
    if kind in _WITHOUT_BOX:
        reason = f"expected a rectangle, polygon or circle, found a {kind} ('{shape['label']}'): it has no box"
        raise Unusable(place, reason, Kind.FORM)
    if kind == 'circle' and len(points) == 2:
        (x, y), edge = points
        radius = math.hypot(edge[0] - x, edge[1] - y)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    if len(points) < 2:
        raise Unusable(f'{place}.points', f'expected at least 2 points, found {len(points)}', Kind.FORM)
    yield from points


def _points(place: str, shape: Mapping[str, Any]) -> list[tuple[float, float]]:
    points = shape.get('points')
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise Unusable(f'{place}.points', f'expected pairs [x, y], found {json.dumps(points)[:80]}', Kind.FORM)
    return [(json_number(x, f'{place}.points'), json_number(y, f'{place}.points')) for x, y in points]


def _mask(shapes: list[tuple[str, Mapping[str, Any]]], height: int, width: int, element: str) -> str:
    for place, shape in shapes:
        if (shape.get('shape_type') or 'polygon') != 'polygon':
            raise Unusable(place, f'expected a polygon, found a {shape["shape_type"]}: it has no mask', Kind.FORM)
    polygons = [[value for point in _points(place, shape) for value in point] for place, shape in shapes]
    return masks.from_segmentation(polygons, height, width, element)


def _flag(place: str, shape: Mapping[str, Any], name: str) -> bool:
    flags = shape.get('flags')
    value = shape.get(name) or (flags.get(name) if isinstance(flags, dict) else False) or False
    if value not in (False, True):
        raise Unusable(f'{place}.{name}', f'expected true or false, found {json.dumps(value)[:80]}', Kind.FORM)
    return bool(value)


def _write_part(folder: pathlib.Path, part: Part) -> None:
    write_images(folder, part)
    for example, suffix in zip(part.examples, part.suffixes, strict=True):
        content: dict[str, Any] = {
            'version': '5.0.1',
            'flags': {},
            'shapes': list(_shapes(example, part.classes)),
            'imagePath': f'{posixpath.basename(example.image_id)}{suffix}',
            'imageData': None,
            'imageHeight': example.height,
            'imageWidth': example.width,
        }
        (folder / f'{example.image_id}.json').write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')


def _shapes(example: Example, classes: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    rows = zip(example.boxes_yxyx_px.tolist(), example.classes.tolist(), example.difficult, example.is_crowd, strict=True)
    for (ymin, xmin, ymax, xmax), number, difficult, is_crowd in rows:
        flags = {'difficult': True} if difficult else {}
        flags |= {'is_crowd': True} if is_crowd else {}
        points = [[xmin, ymin], [xmax, ymax]]
        shape = {'label': classes[number - 1], 'points': points, 'group_id': None, 'shape_type': 'rectangle', 'flags': flags}
        yield shape


def _finish(folder: pathlib.Path, whole: Part) -> None:
    """Nothing stands for all images: each has its own file."""


def _source(folder: pathlib.Path, split: str) -> schema.DataSource:
    del split
    return schema.DataSource(format='labelme', path=str(folder))


WRITER = Writer(_write_part, _finish, _source)
