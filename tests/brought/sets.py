"""Makers of data sets as people bring them: images of noise, 64 wide and 48 high, with one object each.

voc(folder / 'data', ['1', '2'])
coco(folder / 'a.json', {'1.jpg': [[5, 5, 20, 20]]})
"""

from __future__ import annotations

import io
import json
import pathlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image

from stagetrain.data import tf_example
from stagetrain.data.crc32c import masked_crc32c

WIDTH, HEIGHT = 64, 48
BOX = (10, 5, 40, 30)
"""xmin, ymin, xmax, ymax of the usual object."""


def pixels(name: str, width: int = WIDTH, height: int = HEIGHT, kind: str = 'JPEG') -> bytes:
    """Returns an encoded image; other names, other pixels."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(list(name.encode('utf-8', 'replace'))).integers(0, 255, (height, width, 3), np.uint8)
    PIL.Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def image(path: pathlib.Path, width: int = WIDTH, height: int = HEIGHT) -> pathlib.Path:
    """Writes an image in the format of its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pixels(path.name, width, height, 'PNG' if path.suffix.lower() == '.png' else 'JPEG'))
    return path


def write(path: pathlib.Path, text: str | bytes) -> pathlib.Path:
    """Writes a file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def voc_object(box: Sequence[Any] = BOX, name: str = 'thing', difficult: int = 0) -> str:
    """Returns an `object` element; box is (xmin, ymin, xmax, ymax)."""
    edges = ''.join(f'<{edge}>{value}</{edge}>' for edge, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), box, strict=True))
    return f'<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{edges}</bndbox></object>'


def voc_xml(filename: str, objects: str = '', width: int = WIDTH, height: int = HEIGHT) -> str:
    """Returns an annotation."""
    size = f'<size><width>{width}</width><height>{height}</height><depth>3</depth></size>'
    return f'<annotation><filename>{filename}</filename>{size}{objects or voc_object()}</annotation>'


def voc(
    folder: pathlib.Path, ids: Sequence[str] = ('1', '2'), objects: str = '', split: str = 'trainval', suffix: str = '.jpg'
) -> pathlib.Path:
    """Writes a VOC data set, or adds to it."""
    for name in ids:
        image(folder / 'JPEGImages' / f'{name}{suffix}')
        write(folder / 'Annotations' / f'{name}.xml', voc_xml(f'{pathlib.PurePath(name).name}{suffix}', objects))
    write(folder / 'ImageSets' / 'Main' / f'{split}.txt', ''.join(f'{name}\n' for name in ids))
    return folder


def coco(
    file: pathlib.Path,
    boxes: Mapping[str, Sequence[Sequence[float]]],
    classes: Sequence[str] = ('thing',),
    **changes: Any,
) -> pathlib.Path:
    """Writes a COCO JSON and its images beside it.

    Args:
      file: where.
      boxes: image name -> boxes, each [x, y, width, height].
      classes: category names, with ids from 1; objects are of the first.
      changes: keys of every annotation that differ.
    """
    listed = [{'id': number, 'file_name': name, 'width': WIDTH, 'height': HEIGHT} for number, name in enumerate(boxes, start=1)]
    annotations: list[dict[str, Any]] = []
    for number, (name, found) in enumerate(boxes.items(), start=1):
        image(file.parent / name)
        for box in found:
            usual = {'id': len(annotations) + 1, 'image_id': number, 'category_id': 1, 'bbox': list(box), 'iscrowd': 0}
            annotations.append({**usual, 'area': box[2] * box[3], **changes})
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, start=1)]
    return write(file, json.dumps({'images': listed, 'annotations': annotations, 'categories': categories}))


def csv(file: pathlib.Path, lines: Sequence[str], images: Sequence[str] = ('1.jpg', '2.jpg'), classes: str = 'thing,0\n') -> None:
    """Writes a CSV, its class file and its images."""
    for name in images:
        image(file.parent / name)
    write(file.parent / 'classes.csv', classes)
    write(file, ''.join(f'{line}\n' for line in lines))


def record(name: str, **changes: Any) -> bytes:
    """Returns a serialized Example with one object of class 1; `changes` are features without `image/`."""
    xmin, ymin, xmax, ymax = BOX
    values: dict[str, Any] = {
        'encoded': [pixels(name)],
        'height': [HEIGHT],
        'width': [WIDTH],
        'source_id': [name.encode()],
        'object/bbox/ymin': [ymin / HEIGHT],
        'object/bbox/xmin': [xmin / WIDTH],
        'object/bbox/ymax': [ymax / HEIGHT],
        'object/bbox/xmax': [xmax / WIDTH],
        'object/class/label': [1],
    }
    message = tf_example.example_class()()
    for key, value in (values | changes).items():
        kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}[type(value[0])]
        getattr(message.features.feature[f'image/{key}'], kind).value.extend(value)
    return bytes(message.SerializeToString())


def framed(data: bytes) -> bytes:
    """Returns a record of a TFRecord file."""
    length = struct.pack('<Q', len(data))
    return length + struct.pack('<I', masked_crc32c(length)) + data + struct.pack('<I', masked_crc32c(data))


def tfrecord(file: pathlib.Path, *records: bytes, names: Sequence[str] = ('thing',)) -> pathlib.Path:
    """Writes a TFRecord file with a label map `label_map.pbtxt` beside it."""
    items = ''.join(f"item {{ id: {number} name: '{name}' }}\n" for number, name in enumerate(names, start=1))
    write(file.parent / 'label_map.pbtxt', items)
    return write(file, b''.join(map(framed, records)))
