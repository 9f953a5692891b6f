"""Reads the layout of the Pascal VOC challenge.

    ROOT/ImageSets/Main/trainval.txt    one image id a line
    ROOT/Annotations/<id>.xml           objects: name, bndbox (xmin, ymin, xmax, ymax in pixels), difficult
    ROOT/JPEGImages/<filename>          named by the XML

Coordinates are taken as edges in pixels exactly as they are given. VOC itself counts pixels from 1 and includes the last one;
the Object Detection API reads the numbers as edges too, and so results stay comparable. An object whose xmin equals its xmax
has no area by this convention. All objects are kept, with their `difficult` flag: who trains decides what to do with it.
`is_crowd`, which VOC itself does not have, is read where an object gives it.

    examples, bad = read(DataSource(format='voc', path='VOC2007', split='trainval'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import os
import pathlib
import xml.etree.ElementTree as ET

import numpy as np

from stagetrain.config import schema
from stagetrain.data import images, places
from stagetrain.data.annotation import BadItem, Example, Unusable, class_id, usable_box
from stagetrain.errors import DataError, known_names, suggestion

MAX_XML_BYTES = 4 * 2**20
"""An annotation larger than this is refused unread; the largest of VOC has some 20 kB."""


@dataclasses.dataclass(frozen=True)
class _Context:
    """What reading one annotation needs. `root` is a real path: links are resolved."""

    root: str
    classes: tuple[str, ...]
    max_image_pixels: int


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads a split; every image is decoded once, so that a broken one shows now and not in the middle of training.

    Args:
      source: `path` is ROOT; `split` a file of `ImageSets/Main` without `.txt`, or None for all of `Annotations`.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: A folder or the split does not exist, it names no image, or none of its images can be used.
    """
    root = _root(source)
    ids, bad = _image_ids(root, source.split)
    context = _Context(os.path.realpath(root), classes, max_image_pixels)
    # Decoding releases the interpreter lock; `map` keeps the order.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(functools.partial(_read_image, context), ids))
    examples = [example for example, _ in results if example is not None]
    bad += [item for _, items in results for item in items]
    if not examples:
        shown = ''.join(f'\n  {item}' for item in bad[:10])
        raise DataError(f'{root}: none of the {len(ids)} images of {_split_name(source.split)} can be used:{shown}')
    return examples, bad


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files and folders, besides the images read, whose change can change what `read` gives.

    Raises:
      DataError: A folder or the split does not exist, or names no image.
    """
    root = _root(source)
    ids, _ = _image_ids(root, source.split)
    listed = _split_file(root, source.split) if source.split is not None else root / 'Annotations'
    annotations = os.path.join(root, 'Annotations')
    return [str(listed), str(root / 'JPEGImages'), *(os.path.join(annotations, f'{image_id}.xml') for image_id in ids)]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the names of a split's objects, sorted; annotations that cannot be parsed are passed over.

    Raises:
      DataError: As `inputs`.
    """
    root = _root(source)
    real = os.path.realpath(root)
    names: set[str] = set()
    for image_id in _image_ids(root, source.split)[0]:
        try:
            annotation = _parse(places.inside(real, 'Annotations', f'{image_id}.xml'))
        except Unusable:
            continue
        names |= {(element.text or '').strip() for element in annotation.findall('object/name')}
    return tuple(sorted(names - {''}))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as VOC, and by what it was recognised; None when it is something else."""
    root = pathlib.Path(source.path)
    if not (root / 'Annotations').is_dir() or not (root / 'JPEGImages').is_dir():
        return None
    return source.model_copy(update={'format': 'voc'}), f'{root} holds Annotations and JPEGImages'


def _root(source: schema.DataSource) -> pathlib.Path:
    root = pathlib.Path(source.path)
    if not root.is_dir():
        beside = [entry.name for entry in root.parent.iterdir() if entry.is_dir()] if root.parent.is_dir() else []
        raise DataError(f'{root}: no such folder; expected the root of a VOC data set.{suggestion(root.name, beside)}')
    for folder in ('Annotations', 'JPEGImages'):
        if not (root / folder).is_dir():
            inner = sorted(entry.name for entry in root.iterdir() if (entry / 'Annotations').is_dir())
            remedy = f' Did you mean {root / inner[0]}?' if inner else ''
            found = known_names(entry.name for entry in root.iterdir())
            raise DataError(f"{root}: expected the folders 'Annotations' and 'JPEGImages', found: {found}.{remedy}")
    return root


def _split_file(root: pathlib.Path, split: str) -> pathlib.Path:
    folder = root / 'ImageSets' / 'Main'
    known = {file.stem for file in folder.glob('*.txt')}
    if split not in known:
        raise DataError(f"{folder}: no split '{split}'. Known here: {known_names(known)}.{suggestion(split, known)}")
    return folder / f'{split}.txt'


def _split_name(split: str | None) -> str:
    return 'Annotations' if split is None else f"split '{split}'"


def _image_ids(root: pathlib.Path, split: str | None) -> tuple[list[str], list[BadItem]]:
    if split is None:
        ids = sorted(file.stem for file in (root / 'Annotations').glob('*.xml'))
        if not ids:
            raise DataError(f'{root / "Annotations"}: expected .xml files, found none')
        return ids, []
    file = _split_file(root, split)
    try:
        lines = file.read_text(encoding='utf-8-sig').splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f'{file}: expected UTF-8 text, one image id a line: {error.reason} at byte {error.start}') from error
    places = collections.defaultdict(list)
    for number, line in enumerate(lines, 1):
        if line.strip():
            places[line.strip()].append(number)
    if not places:
        raise DataError(f'{file}: the split is empty; expected one image id a line')
    bad = [
        BadItem(str(file), f'line {number}', f"'{image_id}' stands in line {numbers[0]} already")
        for image_id, numbers in places.items()
        for number in numbers[1:]
    ]
    return list(places), bad


def _read_image(context: _Context, image_id: str) -> tuple[Example | None, list[BadItem]]:
    """Returns the image's example, or None when it cannot be used, and what was left out."""
    file = os.path.join(context.root, 'Annotations', f'{image_id}.xml')
    try:
        file = places.inside(context.root, 'Annotations', f'{image_id}.xml')
        annotation = _parse(file)
        image_file = places.inside(context.root, 'JPEGImages', _text(annotation, 'filename'), 'filename')
        stated = _stated_size(annotation)
    except Unusable as error:
        return None, [BadItem(file, error.element, error.reason)]
    try:
        info = images.usable(image_file, context.max_image_pixels)
        images.verify(image_file)
    except Unusable as error:
        return None, [BadItem(image_file, error.element, error.reason)]
    if stated != (info.height, info.width):
        reason = f'says {stated[1]:g}x{stated[0]:g}, the image has {info.size_in_words}'
        return None, [BadItem(file, 'size', reason)]
    objects, bad = _objects(annotation, info, context.classes, file)
    return _example(image_id, image_file, info, objects), bad


def _parse(file: str) -> ET.Element:
    """Parses an annotation; a document type, which is what entity attacks need, is refused unparsed."""
    try:
        with open(file, 'rb') as stream:
            data = stream.read(MAX_XML_BYTES + 1)
    except OSError as error:
        raise Unusable('', f'cannot be read: {error.strerror}') from error
    if len(data) > MAX_XML_BYTES:
        raise Unusable('', f'the file is larger than {MAX_XML_BYTES:,} bytes')
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise Unusable('', f'not UTF-8: {error.reason} at byte {error.start}') from error
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise Unusable('', 'a document type or entity declaration is not accepted')
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise Unusable('', f'not well-formed XML: {error}') from error
    if root.tag != 'annotation':
        raise Unusable(root.tag, "expected the root element 'annotation'")
    return root


def _only(parent: ET.Element, path: str, place: str = '') -> ET.Element:
    found = parent.findall(path)
    if len(found) != 1:
        raise Unusable(place + path, f'expected exactly one, found {len(found)}')
    return found[0]


def _text(parent: ET.Element, path: str, place: str = '') -> str:
    text = (_only(parent, path, place).text or '').strip()
    if not text:
        raise Unusable(place + path, 'is empty')
    return text


def _number(parent: ET.Element, path: str, place: str = '') -> float:
    text = _text(parent, path, place)
    try:
        return float(text)
    except ValueError as error:
        raise Unusable(place + path, f"expected a number, found '{text}'") from error


def _stated_size(annotation: ET.Element) -> tuple[float, float]:
    size = _only(annotation, 'size')
    return _number(size, 'height', 'size/'), _number(size, 'width', 'size/')


def _flag(parent: ET.Element, name: str, place: str) -> bool:
    if not parent.findall(name):
        return False
    text = _text(parent, name, place)
    if text not in ('0', '1'):
        raise Unusable(place + name, f"expected 0 or 1, found '{text}'")
    return text == '1'


_Object = tuple[tuple[float, float, float, float], int, bool, bool]


def _objects(
    annotation: ET.Element, info: images.ImageInfo, classes: tuple[str, ...], file: str
) -> tuple[list[_Object], list[BadItem]]:
    objects, bad = [], []
    for number, element in enumerate(annotation.findall('object'), 1):
        try:
            objects.append(_object(element, info, classes, f'object[{number}]/'))
        except Unusable as error:
            bad.append(BadItem(file, error.element, error.reason))
    return objects, bad


def _object(element: ET.Element, info: images.ImageInfo, classes: tuple[str, ...], place: str) -> _Object:
    number = class_id(_text(element, 'name', place), classes, f'{place}name')
    box = _only(element, 'bndbox', place)
    ymin, xmin, ymax, xmax = (_number(box, edge, f'{place}bndbox/') for edge in ('ymin', 'xmin', 'ymax', 'xmax'))
    usable = usable_box((ymin, xmin, ymax, xmax), info.height, info.width, f'{place}bndbox')
    return usable, number, _flag(element, 'difficult', place), _flag(element, 'is_crowd', place)


def _example(image_id: str, path: str, info: images.ImageInfo, objects: list[_Object]) -> Example:
    return Example(
        image_id=image_id,
        path=path,
        offset=None,
        length=None,
        height=info.height,
        width=info.width,
        boxes_yxyx_px=np.asarray([box for box, _, _, _ in objects], np.float32).reshape(-1, 4),
        classes=np.asarray([number for _, number, _, _ in objects], np.int32),
        difficult=np.asarray([difficult for _, _, difficult, _ in objects], np.bool_),
        is_crowd=np.asarray([is_crowd for _, _, _, is_crowd in objects], np.bool_),
    )
