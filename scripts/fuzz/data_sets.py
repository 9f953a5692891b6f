"""Data sets of two images in every format, one file of which is damaged, and what reads them as stagetrain does."""

from __future__ import annotations

import io
import json
import pathlib
import struct
from collections.abc import Callable

import numpy as np
import PIL.Image

from scripts.fuzz.kind import Kind
from scripts.fuzz.pictures import jpeg_of, picture, png_of
from stagetrain.config import schema
from stagetrain.data import index, tf_example
from stagetrain.data.crc32c import masked_crc32c

CLASSES = ('cat', 'dog')


XML = (
    '<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height><depth>3</depth></size>'
    '<object><name>cat</name><difficult>0</difficult><bndbox><xmin>10</xmin><ymin>5</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>'
    '</object><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>39</ymax></bndbox></object></annotation>'
)


CSV = 'a.jpg,10,5,40,30,cat\na.jpg,1,2,30,39,dog\nb.jpg,,,,,\n'


def make_voc(folder: pathlib.Path) -> pathlib.Path:
    """A VOC data set of two images; returns the annotation of one."""
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for name in ('a', 'good'):
        (folder / 'JPEGImages' / f'{name}.jpg').write_bytes(picture())
        (folder / 'Annotations' / f'{name}.xml').write_text(XML.replace('a.jpg', f'{name}.jpg'))
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text('a\ngood\n')
    return folder / 'Annotations' / 'a.xml'


def make_coco(folder: pathlib.Path) -> pathlib.Path:
    """A COCO JSON of two images."""
    for name in ('a', 'b'):
        (folder / f'{name}.jpg').write_bytes(picture())
    images = [{'id': n, 'file_name': f'{name}.jpg', 'width': 60, 'height': 40} for n, name in enumerate('ab', start=1)]
    categories = [{'id': n, 'name': name} for n, name in enumerate(CLASSES, start=1)]
    boxes = [{'id': n, 'image_id': n, 'category_id': n, 'bbox': [5, 5, 20, 20], 'iscrowd': 0, 'area': 400} for n in (1, 2)]
    (folder / 'a.json').write_text(json.dumps({'images': images, 'annotations': boxes, 'categories': categories}))
    return folder / 'a.json'


def make_csv(folder: pathlib.Path) -> pathlib.Path:
    """A CSV of two images."""
    for name in ('a', 'b'):
        (folder / f'{name}.jpg').write_bytes(picture())
    (folder / 'classes.csv').write_text('cat,0\ndog,1\n')
    (folder / 'boxes.csv').write_text(CSV)
    return folder / 'boxes.csv'


def framed(data: bytes) -> bytes:
    """Returns a record of a TFRecord file."""
    length = struct.pack('<Q', len(data))
    return length + struct.pack('<I', masked_crc32c(length)) + data + struct.pack('<I', masked_crc32c(data))


def record(name: str, encoded: bytes) -> bytes:
    """Returns a serialized Example with one box."""
    message = tf_example.example_class()()
    values = {'encoded': [encoded], 'height': [40], 'width': [60], 'source_id': [name.encode()], 'object/class/label': [1]}
    corners = {
        f'object/bbox/{edge}': [value] for edge, value in zip(('ymin', 'xmin', 'ymax', 'xmax'), (0.1, 0.2, 0.7, 0.8), strict=True)
    }
    for key, value in (values | corners).items():
        kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}[type(value[0])]
        getattr(message.features.feature[f'image/{key}'], kind).value.extend(value)
    return bytes(message.SerializeToString())


def make_tfrecord(folder: pathlib.Path) -> pathlib.Path:
    """A TFRecord of two images."""
    (folder / 'a.tfrecord').write_bytes(b''.join(framed(record(name, picture())) for name in 'ab'))
    return folder / 'a.tfrecord'


def make_tfrecord_message(folder: pathlib.Path) -> pathlib.Path:
    """Two Examples without frames; `use_tfrecord_message` frames what became of the first."""
    (folder / 'a.message').write_bytes(record('a', picture()))
    return folder / 'a.message'


def make_image(kind: str) -> Callable[[pathlib.Path], pathlib.Path]:
    """A VOC data set whose damaged part is an image."""

    def make(folder: pathlib.Path) -> pathlib.Path:
        make_voc(folder)
        path = folder / 'JPEGImages' / 'a.jpg'
        path.write_bytes(picture(kind=kind))
        return path

    return make


def use_data(
    format_name: str, path: Callable[[pathlib.Path], pathlib.Path], split: str | None = None
) -> Callable[[pathlib.Path], None]:
    """Returns what reads a data set, leaving bad items out, and refuses them as `on_bad: error` does when there are any."""

    def use(damaged: pathlib.Path) -> None:
        source = schema.DataSource(format=format_name, path=str(path(damaged)), split=split)
        given = {
            'classes': list(CLASSES),
            'train': source.model_dump(),
            'validation': source.model_dump(),
            'max_image_pixels': 10**6,
        }
        dataset = index.load_dataset(source, schema.Data.model_validate({**given, 'on_bad': 'skip'}), 'train', None)
        for example in dataset.examples:
            _require_sound(example)
        if dataset.bad:
            index.load_dataset(source, schema.Data.model_validate({**given, 'on_bad': 'error'}), 'train', None)
            raise AssertionError('bad items were counted and not refused')

    return use


def _require_sound(example: object) -> None:
    boxes, size = example.boxes_yxyx_px, np.array([example.height, example.width] * 2)  # type: ignore[attr-defined]
    assert np.isfinite(boxes).all() and (boxes >= 0).all() and (boxes <= size).all(), boxes
    assert (boxes[:, 2:] > boxes[:, :2]).all(), boxes
    assert set(example.classes.tolist()) <= {1, 2}, example.classes  # type: ignore[attr-defined]
    with PIL.Image.open(io.BytesIO(example.read_bytes())) as image:  # type: ignore[attr-defined]
        image.load()
        assert (image.height, image.width) == (example.height, example.width)  # type: ignore[attr-defined]


def use_tfrecord_message(damaged: pathlib.Path) -> None:
    """Reads a damaged Example in a sound frame."""
    path = damaged.with_name(damaged.name + '.tfrecord')
    path.write_bytes(framed(damaged.read_bytes()) + framed(record('good', picture())))
    use_data('tfrecord', lambda given: given)(path)


def _entities() -> bytes:
    entities = ''.join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    return f'<!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><annotation><filename>&e11;</filename></annotation>'.encode()


def _many_objects() -> bytes:
    first, last = XML.index('<object>'), XML.index('</annotation>')
    return (XML[:first] + XML[first:last] * 20_000 + XML[last:]).encode()


KINDS = {
    'voc': Kind(
        make_voc,
        use_data('voc', lambda path: path.parents[1], 'train'),
        {
            'entities': lambda _: _entities(),
            'external entity': lambda _: b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
            'nested': lambda _: b'<a>' * 200_000,
            'path': lambda _: XML.replace('a.jpg', '/etc/passwd').encode(),
            'many objects': lambda _: _many_objects(),
        },
        weight=3,
    ),
    'coco': Kind(
        make_coco,
        use_data('coco', lambda path: path),
        {
            'nested': lambda _: b'[' * 200_000,
            'long number': lambda _: b'{"images": [' + b'9' * 100_000 + b'], "annotations": [], "categories": []}',
        },
        weight=2,
    ),
    'csv': Kind(
        make_csv,
        use_data('csv', lambda path: path),
        {
            'long field': lambda _: b'a.jpg,' + b'1' * 1_000_000 + b',2,3,4,cat\n',
            'path': lambda _: b'../../../../etc/passwd,1,2,3,4,cat\n',
        },
        weight=2,
    ),
    'tfrecord': Kind(
        make_tfrecord,
        use_data('tfrecord', lambda path: path),
        {
            'length': lambda _: struct.pack('<Q', 2**62) + struct.pack('<I', masked_crc32c(struct.pack('<Q', 2**62))),
            'large png': lambda _: framed(record('a', png_of(60_000, 60_000))),
        },
    ),
    'tfrecord_message': Kind(make_tfrecord_message, use_tfrecord_message),
    'jpeg': Kind(
        make_image('JPEG'),
        use_data('voc', lambda path: path.parents[1], 'train'),
        {'60000 x 60000': lambda _: jpeg_of(60_000, 60_000)},
        weight=2,
    ),
    'png': Kind(
        make_image('PNG'),
        use_data('voc', lambda path: path.parents[1], 'train'),
        {
            '60000 x 60000': lambda _: png_of(60_000, 60_000),
            '999 x 1000 of little data': lambda _: png_of(999, 1000),
        },
    ),
}
