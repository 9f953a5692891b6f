"""Reads TFRecords of the Object Detection API and the Model Garden, without TensorFlow.

    image/encoded                              the image file's bytes
    image/object/bbox/{xmin,xmax,ymin,ymax}    floats, 0 to 1 of the image's width and height
    image/object/class/text or /label          class names, or ids; names count when given
    image/object/bbox_yxyx_px                  optional: [4 N] floats, the same boxes in pixels; they count when given, for a
                                               float of 0 to 1 times a width is seldom the pixel that it was made of
    image/object/{difficult,is_crowd}          optional flags
    image/object/mask                          with `masks: true`; see `record_masks`
    image/height, image/width                  optional; compared with the image
    image/source_id                            optional; without it an image is called `<file>:<record>`

Ids are those of the label map (`class_file: label_map.pbtxt`), or count from 1 in the order of `data.classes`.
Both checksums of every record are compared. Records and objects are counted from 1.

    examples, bad = read(DataSource(format='tfrecord', path='train-*.tfrecord'), ('cat', 'dog'), 50_000_000)
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import glob
import os
import re
import shlex
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stagetrain.config import schema
from stagetrain.data import images, record_masks, tf_example
from stagetrain.data.annotation import BadItem, Example, Kind, Unusable, class_id, scaled, usable_box
from stagetrain.data.crc32c import masked_crc32c
from stagetrain.data.label_map import read_label_map
from stagetrain.data.patterns import matching
from stagetrain.data.places import SPLIT_FOLDERS
from stagetrain.errors import DataError, known_names, suggestion

_HEADER = struct.Struct('<QI')  # length of the data, checksum of the length's 8 bytes
_FOOTER = struct.Struct('<I')  # checksum of the data
_GZIP_MAGIC = b'\x1f\x8b'
_COMPRESSED = 'compressed with GZIP, expected a plain TFRecord: write `gzip -dc {path} > plain.tfrecord` and name that file'
_BOX = 'image/object/bbox/'
_EDGES = ('ymin', 'xmin', 'ymax', 'xmax')
PIXELS = 'image/object/bbox_yxyx_px'
_PIXEL_TOLERANCE = 1e-5
"""Of an image's side: what rounding to a float of 0 to 1 and back can change, some hundred times over."""


@dataclasses.dataclass(frozen=True)
class _Labels:
    """What class names are known, and what a label means."""

    classes: tuple[str, ...]
    names: Mapping[int, str]
    with_masks: bool
    """Whether the objects' masks are read too."""


@dataclasses.dataclass(frozen=True)
class Frame:
    """Where a record's data lies in its file. `number` counts from 1."""

    path: str
    number: int
    offset: int
    length: int


def read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]:
    """Reads all records; every image is decoded once, so that a broken one shows now and not in the middle of training.

    Args:
      source: `path` is a file, or a pattern with `*`, `?`, `[...]`; a comma is part of a name.
      classes: Class names; the first gets id 1.
      max_image_pixels: Larger images are bad.

    Returns:
      Usable images, and boxes and records that were left out.

    Raises:
      DataError: No file matches.
    """
    frames: list[Frame] = []
    bad: list[BadItem] = []
    for path in record_files(source):
        found, broken = scan(path)
        frames += found
        bad += broken
    # Decoding releases the interpreter lock; each task reads its own record, so few are in memory.
    labels = _Labels(classes, _label_names(source, classes), source.masks)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(functools.partial(_read_record, labels, max_image_pixels), frames))
    examples, repeated = _without_repeated_ids([(frame, example) for frame, (example, _) in zip(frames, results, strict=True)])
    bad += [item for _, items in results for item in items] + repeated
    return examples, bad


def inputs(source: schema.DataSource) -> list[str]:
    """Returns the files that decide what `read` gives: the records' files and the label map.

    Raises:
      DataError: No file matches.
    """
    return [*record_files(source), *([os.path.abspath(source.class_file)] if source.class_file else [])]


def class_names(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the label map's names in the order of their ids; without one the names in the records, sorted.

    Raises:
      DataError: No file matches, or neither a label map nor a record tells a name.
    """
    if source.class_file:
        return tuple(read_label_map(source.class_file).values())
    names: set[str] = set()
    for path in record_files(source):
        for frame in scan(path)[0]:
            try:
                values = tf_example.features(_data(frame))
                names |= {_utf8(text, '') for text in _typed(values, 'image/object/class/text', bytes)}
            except (Unusable, ValueError):
                continue  # What is wrong with a record is said when it is read.
    if not names:
        raise DataError(f'{source.path}: its records tell no class names; give a label map or the names')
    return tuple(sorted(names))


def recognise(source: schema.DataSource) -> tuple[schema.DataSource, str] | None:
    """Returns how to read `source.path` as TFRecords, and by what it was recognised; None when it is something else.

    A folder is read with all `*.tfrecord*` and `*.record*` in it (with a split `SPLIT-*` in it, or all in its folder SPLIT), and
    its label map: `label_map.pbtxt`, or the only `.pbtxt`.
    """
    found = _in_folder(source) if os.path.isdir(source.path) else source
    if found is None:
        return None
    files = [found.path] if os.path.isfile(found.path) else [path for path in matching(found.path) if os.path.isfile(path)]
    if not files:
        return None
    found, first = found.model_copy(update={'format': 'tfrecord'}), os.path.abspath(files[0])
    if scan(first)[0]:
        return found, f'{first} begins with a record'
    return (found, f'{first} is compressed with GZIP') if _is_compressed(first) else None


def splits(source: schema.DataSource) -> tuple[str, ...]:
    """Returns the folders with records in a folder that has none itself, as Roboflow leaves them."""
    names = sorted(name for name in os.listdir(source.path) if name.lower() in SPLIT_FOLDERS)
    if _in_folder(source) is not None:
        return ()
    return tuple(name for name in names if _in_folder(source.model_copy(update={'split': name})) is not None)


def _in_folder(source: schema.DataSource) -> schema.DataSource | None:
    """Returns the source with the pattern of a folder's records and its label map; None where it has none."""
    inner = os.path.join(source.path, source.split or '')
    places = [(source.path, f'{glob.escape(source.split)}-'), (inner, '')] if source.split else [(source.path, '')]
    for folder, start in places:
        for ending in ('tfrecord', 'record'):
            pattern = os.path.join(glob.escape(folder), f'{start}*.{ending}*')
            if glob.glob(pattern):
                label_map = os.path.join(folder, 'label_map.pbtxt')
                others = glob.glob(os.path.join(glob.escape(folder), '*.pbtxt'))
                maps = [label_map] if os.path.isfile(label_map) else others
                class_file = source.class_file or (maps[0] if len(maps) == 1 else None)
                return source.model_copy(update={'path': pattern, 'class_file': class_file})
    return None


def _is_compressed(path: str) -> bool:
    with open(path, 'rb') as file:
        return file.read(2) == _GZIP_MAGIC and any(part in ('tfrecord', 'tfrecords', 'record') for part in _name_parts(path))


def _name_parts(path: str) -> list[str]:
    """Returns the parts of a file's name between points and signs: `train-0.tfrecord.gz` is `train`, `0`, `tfrecord`, `gz`."""
    return re.split(r'[._-]', os.path.basename(path).lower())


def record_files(source: schema.DataSource) -> list[str]:
    """Returns the files that `source.path` names, sorted; a name that exists is taken as it is, also when it holds `[`.

    Raises:
      DataError: There is none.
    """
    if os.path.isfile(source.path):
        return [os.path.abspath(source.path)]
    if os.path.isdir(source.path):
        raise DataError(
            f'{source.path}: a folder; expected a file or a pattern, such as {os.path.join(source.path, "*.tfrecord")}'
        )
    found = [os.path.abspath(path) for path in matching(source.path) if os.path.isfile(path)]
    if not found:
        folder, name = os.path.split(source.path)
        beside = os.listdir(folder or '.') if os.path.isdir(folder or '.') else []
        shown = known_names(sorted(beside)[:10])
        raise DataError(
            f"{source.path}: no such file, and no file matches. In '{folder or '.'}': {shown}.{suggestion(name, beside)}"
        )
    return found


def scan(path: str) -> tuple[list[Frame], list[BadItem]]:
    """Finds the records of a file by their lengths, whose checksums are compared; data is passed over.

    Where a length is wrong, the records behind it cannot be found: one bad item stands for all of them.

    Raises:
      DataError: The file cannot be read.
    """
    try:
        size = os.path.getsize(path)
        with open(path, 'rb') as file:
            if file.read(2) == _GZIP_MAGIC:
                return [], [BadItem(path, '', _COMPRESSED.format(path=shlex.quote(path)), Kind.RECORD)]
            frames: list[Frame] = []
            end = 0
            while end < size:
                file.seek(end)
                frames.append(_frame(path, len(frames) + 1, end, file.read(_HEADER.size), size))
                end = frames[-1].offset + frames[-1].length + _FOOTER.size
    except Unusable as error:
        return frames, [error.at(path)]
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}') from error
    return frames, [] if frames else [BadItem(path, '', 'the file is empty, expected records', Kind.RECORD)]


def _frame(path: str, number: int, start: int, header: bytes, size: int) -> Frame:
    rest = 'this record and all behind it are lost'
    if len(header) < _HEADER.size:
        raise Unusable(f'record {number}', f'the file ends inside its header, at byte {size}: it is truncated', Kind.RECORD)
    length, checksum = _HEADER.unpack(header)
    if masked_crc32c(header[:8]) != checksum:
        raise Unusable(
            f'record {number}', f'wrong checksum of its length at byte {start}: not a TFRecord, or damaged; {rest}', Kind.RECORD
        )
    if start + _HEADER.size + length + _FOOTER.size > size:
        raise Unusable(f'record {number}', f'has {length} bytes, but the file ends at byte {size}: it is truncated', Kind.RECORD)
    return Frame(path, number, start + _HEADER.size, length)


def _label_names(source: schema.DataSource, classes: tuple[str, ...]) -> Mapping[int, str]:
    return read_label_map(source.class_file) if source.class_file else dict(enumerate(classes, 1))


def _read_record(labels: _Labels, max_image_pixels: int, frame: Frame) -> tuple[Example | None, list[BadItem]]:
    """Returns the record's example, or None when it cannot be used, and what was left out."""
    try:
        return _example(labels, max_image_pixels, frame, _data(frame))
    except Unusable as error:
        return None, [error.at(frame.path, _place(frame, error.element))]
    except OSError as error:
        raise DataError(f'{frame.path}: record {frame.number}: cannot be read: {error.strerror}') from error


def _place(frame: Frame, element: str) -> str:
    return f'record {frame.number}: {element}' if element else f'record {frame.number}'


def _data(frame: Frame) -> bytes:
    with open(frame.path, 'rb') as file:
        file.seek(frame.offset)
        data = file.read(frame.length)
        footer = file.read(_FOOTER.size)
    if _FOOTER.pack(masked_crc32c(data)) != footer:
        raise Unusable('', 'wrong checksum of its data: it is damaged', Kind.RECORD)
    return data


def _example(labels: _Labels, max_image_pixels: int, frame: Frame, data: bytes) -> tuple[Example, list[BadItem]]:
    try:
        values = tf_example.features(data)
    except ValueError as error:
        raise Unusable('', str(error), Kind.RECORD) from error
    encoded = _encoded(values)
    info = _checked_image(encoded, values, max_image_pixels)
    objects = _Objects.of(values)
    kept: list[tuple[tuple[float, float, float, float], int, bool, bool]] = []
    masks: list[str] = []
    bad: list[BadItem] = []
    for index in range(objects.count):
        try:
            usable = objects.usable(index, info, labels)
            masks += [_mask(values, index, objects, info)] if labels.with_masks else []
            kept.append(usable)
        except Unusable as error:
            bad.append(error.at(frame.path, _place(frame, error.element)))
    example = Example(
        image_id=_image_id(values, frame),
        path=frame.path,
        # Any occurrence of the same bytes is the image.
        offset=frame.offset + data.index(encoded),
        length=len(encoded),
        height=info.height,
        width=info.width,
        boxes_yxyx_px=np.asarray([box for box, _, _, _ in kept], np.float32).reshape(-1, 4),
        classes=np.asarray([number for _, number, _, _ in kept], np.int32),
        difficult=np.asarray([difficult for _, _, difficult, _ in kept], np.bool_),
        is_crowd=np.asarray([is_crowd for _, _, _, is_crowd in kept], np.bool_),
        masks=tuple(masks) if labels.with_masks else None,
    )
    return example, bad


def _mask(values: Mapping[str, tuple[Any, ...]], index: int, objects: _Objects, info: images.ImageInfo) -> str:
    found = values.get(record_masks.FEATURE, ())
    return record_masks.mask_of(found, index, objects.count, (info.height, info.width), f'object[{index + 1}]/mask')


def _encoded(values: Mapping[str, tuple[Any, ...]]) -> bytes:
    found = _typed(values, 'image/encoded', bytes)
    if len(found) != 1:
        raise Unusable(
            'image/encoded', f'expected one value, found {len(found)}; features here: {known_names(values)}', Kind.FORM
        )
    return found[0]


def _checked_image(encoded: bytes, values: Mapping[str, tuple[Any, ...]], max_image_pixels: int) -> images.ImageInfo:
    try:
        info = images.usable(encoded, max_image_pixels)
        images.verify(encoded)
    except Unusable as error:
        raise Unusable('image/encoded', error.reason, error.kind) from error
    for name, actual in (('image/height', info.height), ('image/width', info.width)):
        stated = _typed(values, name, int)
        if stated and stated != (actual,):
            raise Unusable(name, f'says {", ".join(map(str, stated))}, the image has {info.size_in_words}', Kind.SIZE)
    return info


def _image_id(values: Mapping[str, tuple[Any, ...]], frame: Frame) -> str:
    found = _typed(values, 'image/source_id', bytes)
    if not found or not found[0]:
        return f'{os.path.basename(frame.path)}:{frame.number}'
    return _utf8(found[0], 'image/source_id')


@dataclasses.dataclass(frozen=True)
class _Objects:
    """The object lists of a record: `edges` by name; the others are as long, or empty."""

    edges: Mapping[str, Sequence[float]]
    pixels: Sequence[float]
    texts: Sequence[bytes]
    labels: Sequence[int]
    difficult: Sequence[int]
    is_crowd: Sequence[int]

    @classmethod
    def of(cls, values: Mapping[str, tuple[Any, ...]]) -> _Objects:
        """Returns the lists; raises `Unusable` when their lengths differ."""
        edges = {edge: _typed(values, _BOX + edge, float) for edge in _EDGES}
        count = len(edges['ymin'])
        optional = {
            'texts': _typed(values, 'image/object/class/text', bytes),
            'labels': _typed(values, 'image/object/class/label', int),
            'difficult': _typed(values, 'image/object/difficult', int),
            'is_crowd': _typed(values, 'image/object/is_crowd', int),
        }
        pixels = _typed(values, PIXELS, float)
        given = {name: values for name, values in optional.items() if values}
        lengths = {name: float(len(values)) for name, values in (edges | given).items()}
        if pixels:
            lengths['bbox_yxyx_px'] = len(pixels) / 4
        if len(set(lengths.values())) > 1 or (count and not optional['texts'] and not optional['labels']):
            shown = ', '.join(f'{name} {length:g}' for name, length in lengths.items())
            raise Unusable(
                'image/object', f'expected lists of one length and class/text or class/label; found {shown}', Kind.FORM
            )
        return cls(edges, pixels, **optional)

    @property
    def count(self) -> int:
        """Returns the number of objects."""
        return len(self.edges['ymin'])

    def usable(
        self, index: int, info: images.ImageInfo, labels: _Labels
    ) -> tuple[tuple[float, float, float, float], int, bool, bool]:
        """Returns box in pixels, class id, and whether it is difficult and a crowd; raises `Unusable`."""
        place = f'object[{index + 1}]/'
        ymin, xmin, ymax, xmax = (self.edges[edge][index] for edge in _EDGES)
        in_pixels = scaled((ymin, xmin, ymax, xmax), info.height, info.width, f'{place}bbox')
        box = usable_box(self._in_pixels(index, in_pixels, info, place), info.height, info.width, f'{place}bbox')
        difficult = bool(self.difficult[index]) if self.difficult else False
        return box, self._class(index, labels, place), difficult, bool(self.is_crowd[index]) if self.is_crowd else False

    def _in_pixels(
        self, index: int, follows: tuple[float, float, float, float], info: images.ImageInfo, place: str
    ) -> tuple[float, float, float, float]:
        """Returns the box in pixels as it was given, where it was, or else as it follows from the edges."""
        if not self.pixels:
            return follows
        ymin, xmin, ymax, xmax = self.pixels[4 * index : 4 * index + 4]
        tolerance = _PIXEL_TOLERANCE * max(info.height, info.width)
        if any(abs(one - other) > tolerance for one, other in zip((ymin, xmin, ymax, xmax), follows, strict=True)):
            shown = f'ymin={ymin:g} xmin={xmin:g} ymax={ymax:g} xmax={xmax:g}'
            raise Unusable(
                f'{place}bbox_yxyx_px', f'contradicts bbox: {shown}; remove the feature {PIXELS}, or correct it', Kind.FORM
            )
        return ymin, xmin, ymax, xmax

    def _class(self, index: int, labels: _Labels, place: str) -> int:
        if self.texts:
            return class_id(_utf8(self.texts[index], f'{place}class/text'), labels.classes, f'{place}class/text')
        label = self.labels[index]
        if label not in labels.names:
            raise Unusable(f'{place}class/label', f'found {label}, expected {_shown_ids(labels)}', Kind.LABEL, (label,))
        return class_id(labels.names[label], labels.classes, f'{place}class/label')


def _shown_ids(labels: _Labels) -> str:
    if tuple(labels.names.values()) == labels.classes and list(labels.names) == list(range(1, len(labels.classes) + 1)):
        return f'1 to {len(labels.classes)}: the number of data.classes'
    return f'an id of the label map: {", ".join(map(str, labels.names))}'


def _typed(values: Mapping[str, tuple[Any, ...]], name: str, kind: type) -> tuple[Any, ...]:
    found = values.get(name, ())
    if found and not isinstance(found[0], kind):
        raise Unusable(name, f'expected values of type {kind.__name__}, found {type(found[0]).__name__}', Kind.FORM)
    return found


def _utf8(value: bytes, element: str) -> str:
    try:
        return value.decode('utf-8')
    except UnicodeDecodeError as error:
        raise Unusable(element, f'expected UTF-8 text, found {value[:40]!r}', Kind.ENCODING) from error


def _without_repeated_ids(found: list[tuple[Frame, Example | None]]) -> tuple[list[Example], list[BadItem]]:
    """Keeps the first of the examples that share an id."""
    first: dict[str, tuple[Frame, Example]] = {}
    bad = []
    for frame, example in found:
        if example is None:
            continue
        taken = first.setdefault(example.image_id, (frame, example))
        if taken[1] is not example:
            where = f'record {taken[0].number} of {os.path.basename(taken[0].path)}'
            bad.append(
                BadItem(frame.path, _place(frame, 'image/source_id'), f"'{example.image_id}' is that of {where}", Kind.REPEATED)
            )
    return [example for _, example in first.values()], bad
