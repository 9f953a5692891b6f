"""Reads the annotations of the Pascal VOC challenge, in its folders or in those of other tools (`voc_layout`).

    ROOT/ImageSets/Main/trainval.txt    one image id a line, also followed by a flag, or a file name
    ROOT/Annotations/<id>.xml           objects: name, bndbox (xmin, ymin, xmax, ymax in pixels), difficult
    ROOT/JPEGImages/<filename>          named by the XML, in the folder of the same name as the XML's or in JPEGImages itself

Where `filename` is missing or no such image exists, the image is the one with the annotation's own name.

Coordinates are taken as edges in pixels exactly as they are given. VOC itself counts pixels from 1 and includes the last one;
the Object Detection API reads the numbers as edges too, and so results stay comparable. An object whose xmin equals its xmax
has no area by this convention. All objects are kept, with their `difficult` flag: who trains decides what to do with it.
`is_crowd`, which VOC itself does not have, is read where an object gives it.

    examples, bad = read(DataSource(format='voc', path='VOC2007', split='trainval'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import re
import xml.etree.ElementTree as ET

import numpy as np

from stagetrain.config import schema
from stagetrain.data import images, voc_layout
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable, class_id, usable_box
from stagetrain.data.text_files import decoded
from stagetrain.data.voc_layout import Layout
from stagetrain.errors import DataError

MAX_XML_BYTES = 4 * 2**20
"""An annotation larger than this is refused unread; the largest of VOC has some 20 kB."""


@dataclasses.dataclass(frozen=True)
class _Context:
    """What reading one annotation needs."""

    layout: Layout
    classes: tuple[str, ...]
    max_image_pixels: int


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads a split; every image is decoded once, so that a broken one shows now and not in the middle of training.

    Args:
      source: `path` is ROOT; `split` a file of `ImageSets/Main` without `.txt`, or a folder; None for all annotations.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and images that were left out.

    Raises:
      DataError: A folder or the split does not exist, or it names no image.
    """
    layout = voc_layout.find(source)
    ids, bad = layout.entries()
    context = _Context(layout, classes, max_image_pixels)
    # Decoding releases the interpreter lock; `map` keeps the order.
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(functools.partial(_read_image, context), ids))
    examples = [example for example, _ in results if example is not None]
    return examples, bad + [item for _, items in results for item in items]


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files and folders, besides the images read, whose change can change what `read` gives.

    Raises:
      DataError: A folder or the split does not exist, or names no image.
    """
    layout = voc_layout.find(source)
    ids, _ = layout.entries()
    folders = dict.fromkeys(['', *(os.path.dirname(image_id) for image_id in ids)])
    listed = [os.path.join(layout.folder, folder).rstrip(os.sep) for folder in folders]
    pictured = [os.path.join(layout.root, layout.images, folder).rstrip(os.sep) for folder in folders]
    annotated = [os.path.join(layout.folder, f'{image_id}.xml') for image_id in ids]
    return [*([str(layout.split_file)] if layout.split_file else listed), *pictured, *annotated]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the names of a split's objects, sorted; annotations that cannot be parsed are passed over.

    Raises:
      DataError: As `inputs`.
    """
    layout = voc_layout.find(source)
    names: set[str] = set()
    for image_id in layout.entries()[0]:
        try:
            annotation = _parse(layout.places.file(layout.annotations, f'{image_id}.xml'))
        except Unusable:
            continue
        names |= {(element.text or '').strip() for element in annotation.findall('object/name')}
    return tuple(sorted(names - {''}))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as VOC, and by what it was recognised; None when it is something else."""
    if not os.path.isdir(source.path):
        return None
    try:
        layout = voc_layout.find(source.model_copy(update={'split': None}))
    except DataError:
        if source.split is None:
            return None
        try:
            layout = voc_layout.find(source)
        except DataError:
            return None
    return source.model_copy(update={'format': 'voc'}), layout.in_words


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the names of the folders of which each is a split, where `source.path` is not one data set itself."""
    return voc_layout.splits(source.path)


def _read_image(context: _Context, image_id: str) -> tuple[Example | None, list[BadItem]]:
    """Returns the image's example, or None when it cannot be used, and what was left out."""
    layout = context.layout
    file = os.path.join(layout.folder, f'{image_id}.xml')
    try:
        file = layout.places.file(layout.annotations, f'{image_id}.xml')
        annotation = _parse(file)
        image_file, name = _image_file(layout, image_id, annotation)
        stated = _stated_size(annotation)
    except Unusable as error:
        return None, [error.at(file)]
    try:
        info = images.usable(image_file, context.max_image_pixels)
        images.verify(image_file)
    except Unusable as error:
        return None, [error.at(image_file)]
    if stated != (info.height, info.width):
        reason = f'says {stated[1]:g}x{stated[0]:g}, the image has {info.size_in_words}'
        return None, [BadItem(file, 'size', reason, Kind.SIZE, (stated[1], stated[0], info.width, info.height))]
    objects, bad = _objects(annotation, info, context.classes, file)
    return _example(image_id, image_file, info, objects), bad + _notes(file, image_file, name)


def _image_file(layout: Layout, image_id: str, annotation: ET.Element) -> tuple[str, str]:
    """Returns the image that an annotation names, and the name; where suffix or folder are wrong, the one with the same name."""
    name = ''
    if annotation.findall('filename'):
        name = (_only(annotation, 'filename').text or '').strip()
    fault = Unusable('filename', f"names no image, and none is called '{image_id}'", Kind.MISSING)
    if name:
        try:
            return _named_image(layout, image_id, name), name
        except Unusable as error:
            if error.kind != Kind.MISSING:
                raise
            fault = error
    own = layout.places.named(layout.images, image_id, images.SUFFIXES)
    shown = ', '.join(os.path.basename(path) for path in own)
    if own and (_stem(name) not in ('', _stem(image_id)) or len(own) > 1):
        raise Unusable('filename', f"{fault.reason}; the annotation's own name is that of {shown}", Kind.MISSING, fault.evidence)
    if not own:
        raise fault
    return own[0], name


def _stem(name: str) -> str:
    """Returns a name without folders, suffix and case."""
    stem, suffix = os.path.splitext(re.split(r'[\\/]', name)[-1])
    return (stem if suffix.lower() in images.SUFFIXES else stem + suffix).casefold()


def _named_image(layout: Layout, image_id: str, name: str) -> str:
    """Returns the file in the folder of the same name as the annotation's, or in the image folder itself."""
    inner = os.path.dirname(image_id)
    if inner:
        with contextlib.suppress(Unusable):
            return layout.places.file(os.path.join(layout.images, inner), name, 'filename')
    return layout.places.file(layout.images, name, 'filename')


def _notes(file: str, image_file: str, name: str) -> list[BadItem]:
    """Returns that another image was taken than the annotation names."""
    called = os.path.basename(image_file)
    if called == re.split(r'[\\/]', name)[-1] or not name:
        return []
    missing = os.path.join(os.path.dirname(image_file), name)
    return [BadItem(file, 'filename', f"'{name}' is not there, '{called}' is taken", Kind.NOTE, (missing,))]


def _parse(file: str) -> ET.Element:
    """Parses an annotation; a document type, which is what entity attacks need, is refused unparsed."""
    try:
        with open(file, 'rb') as stream:
            data = stream.read(MAX_XML_BYTES + 1)
    except OSError as error:
        raise Unusable('', f'cannot be read: {error.strerror}', Kind.MISSING) from error
    if len(data) > MAX_XML_BYTES:
        raise Unusable('', f'the file is larger than {MAX_XML_BYTES:,} bytes', Kind.FORM)
    text = decoded(data)
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise Unusable('', 'a document type or entity declaration is not accepted', Kind.FORM)
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError) as error:
        raise Unusable('', f'not well-formed XML: {error}', Kind.FORM) from error
    if root.tag != 'annotation':
        raise Unusable(root.tag, f"expected the root element 'annotation', found '{root.tag}'", Kind.FORM)
    return root


def _only(parent: ET.Element, path: str, place: str = '') -> ET.Element:
    found = parent.findall(path)
    if len(found) != 1:
        raise Unusable(place + path, f'expected exactly one, found {len(found)}', Kind.FORM, _children(parent, len(found)))
    return found[0]


def _children(parent: ET.Element, count: int) -> tuple[str | float, ...]:
    """Returns how many there are of what is expected once, and what else an element holds."""
    return (count, *(child.tag for child in list(parent)[:20]))


def _text(parent: ET.Element, path: str, place: str = '') -> str:
    text = (_only(parent, path, place).text or '').strip()
    if not text:
        raise Unusable(place + path, 'is empty', Kind.FORM)
    return text


def _number(parent: ET.Element, path: str, place: str = '') -> float:
    text = _text(parent, path, place)
    try:
        return float(text)
    except ValueError as error:
        raise Unusable(place + path, f"expected a number, found '{text}'", Kind.NOT_A_NUMBER, (text[:40],)) from error


def _stated_size(annotation: ET.Element) -> tuple[float, float]:
    size = _only(annotation, 'size')
    return _number(size, 'height', 'size/'), _number(size, 'width', 'size/')


def _flag(parent: ET.Element, name: str, place: str) -> bool:
    if not parent.findall(name):
        return False
    text = _text(parent, name, place)
    if text not in ('0', '1'):
        raise Unusable(place + name, f"expected 0 or 1, found '{text}'", Kind.FORM)
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
            bad.append(error.at(file))
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
