"""Data sets in each format, written so that the reader of that format gives the same examples again.

A `Writer` writes the images of a part, in any process, and then, once, what stands for all of them. Images keep their bytes and
boxes their bits: numbers are written with the fewest digits that give the same float32 again.

    WRITERS['coco'].write_part(folder, part)
    WRITERS['coco'].finish(folder, contents)
    source = WRITERS['coco'].source(folder, 'train')      # DataSource(format='coco', path='.../annotations.json')
"""

from __future__ import annotations

import csv
import dataclasses
import glob
import hashlib
import io
import json
import pathlib
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from stagetrain.config import schema, specs
from stagetrain.data import tf_example, tfrecord
from stagetrain.data.annotation import Example
from stagetrain.data.crc32c import masked_crc32c
from stagetrain.data.label_map import render_label_map

LABEL_MAP = 'label_map.pbtxt'


@dataclasses.dataclass(frozen=True)
class Part:
    """Images that are written together; `suffixes` are those of the image files, such as `.jpg`. `number` counts from 0."""

    number: int
    num_parts: int
    split: str
    classes: tuple[str, ...]
    examples: Sequence[Example]
    suffixes: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Writer:
    """How a format is written. `keeps_flags`: whether it has a place for difficult objects and crowds."""

    write_part: Callable[[pathlib.Path, Part], None]
    finish: Callable[[pathlib.Path, Part], None]
    """Writes what stands for all images; gets all of them as one part."""
    source: Callable[[pathlib.Path, str], schema.DataSource]
    """Returns what reads the folder and split."""
    keeps_flags: bool = True


def write_images(folder: pathlib.Path, part: Part) -> None:
    """Writes the images of a part, with their bytes as they are, below a folder."""
    for example, suffix in zip(part.examples, part.suffixes, strict=True):
        file = folder / f'{example.image_id}{suffix}'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(example.read_bytes())


def decimal(value: np.float32) -> str:
    """Returns the shortest decimal that is read as the same float32."""
    return np.format_float_positional(value, trim='-')


# ---- VOC ------------------------------------------------------------------------------------------------------------------


def _write_voc_part(folder: pathlib.Path, part: Part) -> None:
    write_images(folder / 'JPEGImages', part)
    for example, suffix in zip(part.examples, part.suffixes, strict=True):
        file = folder / 'Annotations' / f'{example.image_id}.xml'
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_voc_annotation(example, suffix, part.classes))


def _voc_annotation(example: Example, suffix: str, classes: tuple[str, ...]) -> bytes:
    root = ET.Element('annotation')
    _add(root, filename=f'{example.image_id}{suffix}')
    _add(ET.SubElement(root, 'size'), width=example.width, height=example.height)
    rows = zip(example.boxes_yxyx_px, example.classes, example.difficult, example.is_crowd, strict=True)
    for box, number, difficult, is_crowd in rows:
        element = ET.SubElement(root, 'object')
        _add(element, name=classes[number - 1], difficult=int(difficult))
        if is_crowd:
            _add(element, is_crowd=1)
        ymin, xmin, ymax, xmax = map(decimal, box)
        _add(ET.SubElement(element, 'bndbox'), xmin=xmin, ymin=ymin, xmax=xmax, ymax=ymax)
    ET.indent(root)
    return ET.tostring(root, encoding='utf-8') + b'\n'


def _add(parent: ET.Element, **texts: object) -> None:
    for name, text in texts.items():
        ET.SubElement(parent, name).text = str(text)


def _finish_voc(folder: pathlib.Path, whole: Part) -> None:
    file = folder / 'ImageSets' / 'Main' / f'{whole.split}.txt'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(f'{example.image_id}\n' for example in whole.examples), encoding='utf-8')


def _voc_source(folder: pathlib.Path, split: str) -> schema.DataSource:
    return schema.DataSource(format='voc', path=str(folder), split=split)


# ---- COCO -----------------------------------------------------------------------------------------------------------------


def _write_coco_part(folder: pathlib.Path, part: Part) -> None:
    write_images(folder / 'images', part)


def _finish_coco(folder: pathlib.Path, whole: Part) -> None:
    images = [
        {'id': number, 'file_name': f'{example.image_id}{suffix}', 'height': example.height, 'width': example.width}
        for number, (example, suffix) in enumerate(zip(whole.examples, whole.suffixes, strict=True), 1)
    ]
    annotations = [
        {'image_id': number, **annotation}
        for number, example in enumerate(whole.examples, 1)
        for annotation in _coco_annotations(example)
    ]
    content = {
        'images': images,
        'categories': [{'id': number, 'name': name} for number, name in enumerate(whole.classes, 1)],
        'annotations': [{'id': number, **annotation} for number, annotation in enumerate(annotations, 1)],
    }
    (folder / 'annotations.json').write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')


def _coco_annotations(example: Example) -> list[dict[str, Any]]:
    found = []
    boxes = example.boxes_yxyx_px.astype(np.float64).tolist()
    rows = zip(boxes, example.classes.tolist(), example.difficult.tolist(), example.is_crowd.tolist(), strict=True)
    for (ymin, xmin, ymax, xmax), number, difficult, is_crowd in rows:
        # Differences of float32 in float64 are exact, or so near that x + width rounds to the same float32.
        width, height = xmax - xmin, ymax - ymin
        annotation = {'category_id': number, 'bbox': [xmin, ymin, width, height], 'area': width * height}
        found.append(annotation | {'iscrowd': int(is_crowd)} | ({'difficult': 1} if difficult else {}))
    return found


def _coco_source(folder: pathlib.Path, split: str) -> schema.DataSource:
    del split
    return schema.DataSource(format='coco', path=str(folder / 'annotations.json'), images=str(folder / 'images'))


# ---- CSV ------------------------------------------------------------------------------------------------------------------


def _finish_csv(folder: pathlib.Path, whole: Part) -> None:
    rows: list[list[str]] = []
    for example, suffix in zip(whole.examples, whole.suffixes, strict=True):
        name = f'{example.image_id}{suffix}'
        for box, number in zip(example.boxes_yxyx_px, example.classes, strict=True):
            ymin, xmin, ymax, xmax = map(decimal, box)
            rows.append([name, xmin, ymin, xmax, ymax, whole.classes[number - 1]])
        if not len(example.classes):
            rows.append([name, '', '', '', '', ''])
    write_csv(folder / 'annotations.csv', rows)
    write_csv(folder / 'classes.csv', [[name, str(number)] for number, name in enumerate(whole.classes)])


def write_csv(file: pathlib.Path, rows: Iterable[Sequence[str]]) -> None:
    """Writes lines of fields."""
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows(rows)
    file.write_text(text.getvalue(), encoding='utf-8', newline='')


def _csv_source(folder: pathlib.Path, split: str) -> schema.DataSource:
    del split
    return schema.DataSource(format='csv', path=str(folder / 'annotations.csv'), class_file=str(folder / 'classes.csv'))


# ---- TFRecord -------------------------------------------------------------------------------------------------------------


def _write_tfrecord_part(folder: pathlib.Path, part: Part) -> None:
    file = folder / f'{part.split}-{part.number:05d}-of-{part.num_parts:05d}.tfrecord'
    with open(file, 'wb') as stream:
        for example, suffix in zip(part.examples, part.suffixes, strict=True):
            stream.write(framed(_record(example, suffix, part.classes)))


def framed(record: bytes) -> bytes:
    """Returns a record as it stands in a TFRecord file: length, data, and the checksums of both."""
    length = struct.pack('<Q', len(record))
    return b''.join((length, struct.pack('<I', masked_crc32c(length)), record, struct.pack('<I', masked_crc32c(record))))


def _record(example: Example, suffix: str, classes: tuple[str, ...]) -> bytes:
    """Returns the Example of the Object Detection API and the Model Garden, with the boxes in pixels beside."""
    encoded = example.read_bytes()
    boxes = example.boxes_yxyx_px.astype(np.float64)
    ymin, xmin, ymax, xmax = (boxes / [example.height, example.width, example.height, example.width]).T.tolist()
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    values: dict[str, Sequence[Any]] = {
        'image/encoded': [encoded],
        'image/format': [{'.png': b'png', '.bmp': b'bmp'}.get(suffix.lower(), b'jpeg')],
        'image/filename': [f'{example.image_id}{suffix}'.encode()],
        'image/source_id': [example.image_id.encode()],
        'image/key/sha256': [hashlib.sha256(encoded).hexdigest().encode()],
        'image/height': [example.height],
        'image/width': [example.width],
        'image/object/bbox/ymin': ymin,
        'image/object/bbox/xmin': xmin,
        'image/object/bbox/ymax': ymax,
        'image/object/bbox/xmax': xmax,
        tfrecord.PIXELS: example.boxes_yxyx_px.ravel().tolist(),
        'image/object/area': areas.tolist(),
        'image/object/class/text': [classes[number - 1].encode() for number in example.classes],
        'image/object/class/label': example.classes.tolist(),
        'image/object/difficult': example.difficult.astype(int).tolist(),
        'image/object/is_crowd': example.is_crowd.astype(int).tolist(),
    }
    return _message(values)


def _message(values: Mapping[str, Sequence[Any]]) -> bytes:
    message = tf_example.example_class()()
    for name, found in sorted(values.items()):
        if found:
            kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}[type(found[0])]
            getattr(message.features.feature[name], kind).value.extend(found)
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _finish_tfrecord(folder: pathlib.Path, whole: Part) -> None:
    (folder / LABEL_MAP).write_text(render_label_map(dict(enumerate(whole.classes, 1))), encoding='utf-8')


def _tfrecord_source(folder: pathlib.Path, split: str) -> schema.DataSource:
    pattern = f'{glob.escape(str(folder))}/{split}-*.tfrecord'
    return schema.DataSource(format='tfrecord', path=pattern, class_file=str(folder / LABEL_MAP))


COCO = Writer(_write_coco_part, _finish_coco, _coco_source)
CSV = Writer(write_images, _finish_csv, _csv_source, keeps_flags=False)
TFRECORD = Writer(_write_tfrecord_part, _finish_tfrecord, _tfrecord_source)
VOC = Writer(_write_voc_part, _finish_voc, _voc_source)


class _Registered(Mapping[str, Writer]):
    """The writers of all registered formats by the formats' names; each is imported when it is asked for."""

    def __getitem__(self, name: str) -> Writer:
        if name not in specs.formats() or not specs.data_format(name).writer:
            raise KeyError(name)
        found: Writer = specs.load_implementation(specs.data_format(name).writer)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name in specs.formats() if specs.data_format(name).writer)

    def __len__(self) -> int:
        return len(list(iter(self)))


WRITERS: Mapping[str, Writer] = _Registered()
