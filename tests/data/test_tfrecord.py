"""The TFRecord reader: what it gives, and what it says about every kind of fault."""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data import index, recognise, tf_example, tfrecord
from stagetrain.data.annotation import BadItem, Example
from stagetrain.data.crc32c import masked_crc32c
from stagetrain.errors import DataError

CLASSES = ('cat', 'dog')


def jpeg(seed: int = 0, size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(buffer, 'JPEG')
    return buffer.getvalue()


def example(**changes: Any) -> bytes:
    """Returns an Example of one cat at y 10 to 20, x 30 to 45; `changes` are features without `image/`, None removes one."""
    values: dict[str, Any] = {
        'encoded': [jpeg()],
        'height': [40],
        'width': [60],
        'source_id': [b'a'],
        'object/bbox/ymin': [0.25],
        'object/bbox/xmin': [0.5],
        'object/bbox/ymax': [0.5],
        'object/bbox/xmax': [0.75],
        'object/class/label': [1],
    }
    message = tf_example.example_class()()
    for name, value in (values | changes).items():
        if value is not None:
            kind = {bytes: 'bytes_list', float: 'float_list', int: 'int64_list'}[type(value[0]) if value else bytes]
            getattr(message.features.feature[f'image/{name}'], kind).value.extend(value)
    return message.SerializeToString()


def framed(data: bytes) -> bytes:
    length = struct.pack('<Q', len(data))
    return length + struct.pack('<I', masked_crc32c(length)) + data + struct.pack('<I', masked_crc32c(data))


def write(file: pathlib.Path, *records: bytes) -> pathlib.Path:
    file.write_bytes(b''.join(framed(record) for record in records))
    return file


def read(path: pathlib.Path | str, max_image_pixels: int = 10**6) -> tuple[list[Example], list[BadItem]]:
    return tfrecord.read(schema.DataSource(format='tfrecord', path=str(path)), CLASSES, max_image_pixels)


def only_fault(folder: pathlib.Path, record: bytes) -> BadItem:
    """Writes a good record and `record`, and returns the one fault, which must be in record 2."""
    examples, bad = read(write(folder / 'a.tfrecord', example(source_id=[b'good']), record))
    assert (examples[0].image_id, len(bad)) == ('good', 1)
    assert bad[0].file == str(folder / 'a.tfrecord')
    assert bad[0].element.startswith('record 2')
    return bad[0]


def test_boxes_classes_and_bytes_are_read(tmp_path: pathlib.Path) -> None:
    (found,), bad = read(write(tmp_path / 'a.tfrecord', example()))
    assert bad == []
    assert (found.image_id, found.height, found.width, found.length) == ('a', 40, 60, len(jpeg()))
    np.testing.assert_array_equal(found.boxes_yxyx_px, np.float32([[10, 30, 20, 45]]))
    assert (found.classes.tolist(), found.difficult.tolist(), found.is_crowd.tolist()) == ([1], [False], [False])
    assert found.read_bytes() == jpeg()


def test_names_count_more_than_ids(tmp_path: pathlib.Path) -> None:
    (found,), _ = read(write(tmp_path / 'a.tfrecord', example(**{'object/class/text': [b'dog'], 'object/class/label': [1]})))
    assert found.classes.tolist() == [2]


def test_a_label_map_says_what_ids_mean(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'map.pbtxt').write_text("item { id: 7 name: 'cat' } item { id: 3 name: 'dog' } item { id: 4 name: 'cow' }")
    file = write(tmp_path / 'a.tfrecord', *(example(source_id=[b'%d' % n], **{'object/class/label': [n]}) for n in (3, 4, 5, 7)))
    source = schema.DataSource(format='tfrecord', path=str(file), class_file=str(tmp_path / 'map.pbtxt'))
    examples, bad = tfrecord.read(source, CLASSES, 10**6)
    assert [found.classes.tolist() for found in examples] == [[2], [], [], [1]]
    assert [(item.element, item.reason) for item in bad] == [
        ('record 2: object[1]/class/label', "class 'cow' is not in data.classes (cat, dog)"),
        ('record 3: object[1]/class/label', 'found 5, expected an id of the label map: 3, 4, 7'),
    ]
    assert tfrecord.class_names(source) == ('dog', 'cow', 'cat')


def test_classes_are_those_of_the_records(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / 'a.tfrecord', example(**{'object/class/text': [b'dog']}), b'\xff', example())
    assert tfrecord.class_names(schema.DataSource(format='tfrecord', path=str(file))) == ('dog',)
    with pytest.raises(DataError, match='its records tell no class names; give a label map or the names'):
        tfrecord.class_names(schema.DataSource(format='tfrecord', path=str(write(tmp_path / 'b.tfrecord', example()))))


def test_boxes_in_pixels_count_where_they_are_given(tmp_path: pathlib.Path) -> None:
    pixels = [10.0, 30.0001, 20.0, 45.0]
    (found,), bad = read(write(tmp_path / 'a.tfrecord', example(**{'object/bbox_yxyx_px': pixels})))
    assert bad == []
    np.testing.assert_array_equal(found.boxes_yxyx_px, np.float32([pixels]))


def test_boxes_in_pixels_that_contradict_are_bad(tmp_path: pathlib.Path) -> None:
    _, (bad,) = read(write(tmp_path / 'a.tfrecord', example(**{'object/bbox_yxyx_px': [10.0, 31.0, 20.0, 45.0]})))
    assert (bad.element, bad.reason[:40]) == ('record 1: object[1]/bbox_yxyx_px', 'contradicts bbox: ymin=10 xmin=31 ymax=2')


def test_flags_are_read(tmp_path: pathlib.Path) -> None:
    (found,), _ = read(write(tmp_path / 'a.tfrecord', example(**{'object/difficult': [1], 'object/is_crowd': [1]})))
    assert (found.difficult.tolist(), found.is_crowd.tolist()) == ([True], [True])


def test_an_image_without_objects_is_kept(tmp_path: pathlib.Path) -> None:
    none = {f'object/bbox/{edge}': None for edge in ('ymin', 'xmin', 'ymax', 'xmax')} | {'object/class/label': None}
    (found,), bad = read(write(tmp_path / 'a.tfrecord', example(**none)))
    assert (found.boxes_yxyx_px.shape, bad) == ((0, 4), [])


def test_a_record_without_id_and_size_is_named_by_its_place(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / 'a.tfrecord', example(), example(source_id=None, height=None, width=None), example(source_id=[b'']))
    assert [found.image_id for found in read(file)[0]] == ['a', 'a.tfrecord:2', 'a.tfrecord:3']


def test_a_pattern_names_several_files_in_order(tmp_path: pathlib.Path) -> None:
    write(tmp_path / 'b-2.tfrecord', example(source_id=[b'2']))
    write(tmp_path / 'b-1.tfrecord', example(source_id=[b'1']))
    assert [found.image_id for found in read(tmp_path / 'b-*.tfrecord')[0]] == ['1', '2']


@pytest.mark.parametrize('name', ['a,b.tfrecord', 'a[1].tfrecord', 'a*.tfrecord'])
def test_a_name_with_special_characters_is_one_file(tmp_path: pathlib.Path, name: str) -> None:
    write(tmp_path / 'a1.tfrecord', example(source_id=[b'other']))
    assert [found.image_id for found in read(write(tmp_path / name, example()))[0]] == ['a']


@pytest.mark.parametrize('folder', ['lr[0.1]', 'a*b?', '[', 'back\\slash'])
@pytest.mark.parametrize('pattern', ['train-*.tfrecord', 'train-?.tfrecord', '*[12].tfrecord', '*'])
def test_the_folder_of_a_pattern_may_have_any_name(tmp_path: pathlib.Path, folder: str, pattern: str) -> None:
    (tmp_path / folder).mkdir()
    for number in '12':
        write(tmp_path / folder / f'train-{number}.tfrecord', example(source_id=[number.encode()]))
    assert [found.image_id for found in read(tmp_path / folder / pattern)[0]] == ['1', '2']


def test_brackets_in_the_name_of_shards_are_a_pattern_only_where_that_matches(tmp_path: pathlib.Path) -> None:
    write(tmp_path / 'lr[0.1]-1.tfrecord', example())
    assert [found.image_id for found in read(tmp_path / 'lr[0.1]-*.tfrecord')[0]] == ['a']
    write(tmp_path / 'lr0-1.tfrecord', example(source_id=[b'other']))
    assert [found.image_id for found in read(tmp_path / 'lr[0.1]-*.tfrecord')[0]] == ['other']


@pytest.mark.parametrize(
    ('changes', 'element', 'reason'),
    [
        ({'encoded': None}, 'image/encoded', 'expected one value, found 0; features here: image/height'),
        ({'encoded': [b'a', b'b']}, 'image/encoded', 'expected one value, found 2'),
        ({'encoded': [1]}, 'image/encoded', 'expected values of type bytes, found int'),
        ({'encoded': [b'']}, 'image/encoded', 'the file is empty'),
        ({'encoded': [b'text']}, 'image/encoded', 'neither JPEG, PNG nor BMP'),
        ({'encoded': [jpeg()[:-200]]}, 'image/encoded', 'the image data is broken'),
        ({'encoded': [jpeg(size=(1100, 1000))]}, 'image/encoded', 'the image has 1100x1000'),
        ({'height': [60]}, 'image/height', 'says 60, the image has 60x40 pixels'),
        ({'width': [40]}, 'image/width', 'says 40, the image has 60x40 pixels'),
        ({'source_id': [b'\xff']}, 'image/source_id', 'expected UTF-8 text'),
        ({'source_id': [b'good']}, 'image/source_id', "'good' is that of record 1 of a.tfrecord"),
        ({'object/bbox/xmax': [0.6, 0.7]}, 'image/object', 'expected lists of one length'),
        ({'object/bbox/xmax': None}, 'image/object', 'expected lists of one length'),
        ({'object/class/label': [1, 2]}, 'image/object', 'expected lists of one length'),
        ({'object/class/label': None}, 'image/object', 'expected lists of one length and class/text or class/label'),
        ({'object/difficult': [0, 0]}, 'image/object', 'expected lists of one length'),
        ({'object/bbox_yxyx_px': [10.0, 30.0, 20.0]}, 'image/object', 'expected lists of one length'),
    ],
)
def test_an_unusable_record_is_dropped(tmp_path: pathlib.Path, changes: dict[str, Any], element: str, reason: str) -> None:
    bad = only_fault(tmp_path, example(**{'source_id': [b'bad']} | changes))
    assert bad.element == f'record 2: {element}'
    assert bad.reason.startswith(reason)


@pytest.mark.parametrize(
    ('changes', 'element', 'reason'),
    [
        ({'object/bbox/xmax': [0.5]}, 'bbox', 'the box has no area'),
        ({'object/bbox/xmax': [0.25]}, 'bbox', 'the box is inverted'),
        ({'object/bbox/xmax': [float('nan')]}, 'bbox', 'coordinates must be finite'),
        ({'object/bbox/xmax': [1.5]}, 'bbox', 'the box leaves the image'),
        ({'object/bbox/xmax': [45.0]}, 'bbox', 'expected edges from 0 to 1 of height and width'),
        ({'object/class/label': [0]}, 'class/label', 'found 0, expected 1 to 2'),
        ({'object/class/label': [99]}, 'class/label', 'found 99, expected 1 to 2'),
        ({'object/class/label': [-5]}, 'class/label', 'found -5, expected 1 to 2'),
        ({'object/class/text': [b'cow']}, 'class/text', "class 'cow' is not in data.classes"),
        ({'object/class/text': [b'\xff']}, 'class/text', 'expected UTF-8 text'),
    ],
)
def test_a_bad_box_is_dropped(tmp_path: pathlib.Path, changes: dict[str, Any], element: str, reason: str) -> None:
    (found,), (bad,) = read(write(tmp_path / 'a.tfrecord', example(**changes)))
    assert len(found.classes) == 0
    assert bad.element == f'record 1: object[1]/{element}'
    assert bad.reason.startswith(reason)


def test_a_record_that_is_no_example_is_dropped(tmp_path: pathlib.Path) -> None:
    assert only_fault(tmp_path, b'\xff\xff\xff').reason.startswith('not a tf.train.Example')


def test_a_flipped_bit_in_the_data_drops_one_record(tmp_path: pathlib.Path) -> None:
    file = write(tmp_path / 'a.tfrecord', example(source_id=[b'1']), example(source_id=[b'2']))
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    (found,), (bad,) = read(file)
    assert (found.image_id, bad.element, bad.reason) == ('2', 'record 1', 'wrong checksum of its data: it is damaged')


def test_a_flipped_bit_in_a_length_loses_what_follows(tmp_path: pathlib.Path) -> None:
    first = framed(example(source_id=[b'1']))
    content = bytearray(first + framed(example(source_id=[b'2'])) + framed(example(source_id=[b'3'])))
    content[len(first)] ^= 1
    (tmp_path / 'a.tfrecord').write_bytes(content)
    (found,), (bad,) = read(tmp_path / 'a.tfrecord')
    assert (found.image_id, bad.element) == ('1', 'record 2')
    assert bad.reason.startswith(f'wrong checksum of its length at byte {len(first)}')


@pytest.mark.parametrize(('kept', 'reason'), [(5, 'the file ends inside its header'), (50, 'but the file ends at byte')])
def test_a_truncated_file_keeps_what_is_whole(tmp_path: pathlib.Path, kept: int, reason: str) -> None:
    first = framed(example())
    (tmp_path / 'a.tfrecord').write_bytes(first + framed(example(source_id=[b'2']))[:kept])
    (found,), (bad,) = read(tmp_path / 'a.tfrecord')
    assert (found.image_id, bad.element) == ('a', 'record 2')
    assert reason in bad.reason


def test_an_empty_file_is_named(tmp_path: pathlib.Path) -> None:
    write(tmp_path / 'a-1.tfrecord', example())
    (tmp_path / 'a-2.tfrecord').write_bytes(b'')
    _, (bad,) = read(tmp_path / 'a-*.tfrecord')
    assert (bad.file, bad.reason) == (str(tmp_path / 'a-2.tfrecord'), 'the file is empty, expected records')


def test_a_compressed_file_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'a.tfrecord').write_bytes(gzip.compress(framed(example())))
    examples, (bad,) = read(tmp_path / 'a.tfrecord')
    command = f'gzip -dc {tmp_path / "a.tfrecord"} > plain.tfrecord'
    assert examples == [] and bad.reason == (
        f'compressed with GZIP, expected a plain TFRecord: write `{command}` and name that file'
    )


def test_a_missing_file_names_what_is_there(tmp_path: pathlib.Path) -> None:
    write(tmp_path / 'train.tfrecord', example())
    with pytest.raises(DataError, match=r"no file matches. In '.*': train.tfrecord. Did you mean 'train.tfrecord'\?"):
        read(tmp_path / 'trian.tfrecord')


def test_a_folder_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError, match=r'a folder; expected a file or a pattern, such as .*\*.tfrecord'):
        read(tmp_path)


def test_the_cache_sees_a_new_shard(tmp_path: pathlib.Path) -> None:
    source = schema.DataSource(format='tfrecord', path=str(tmp_path / '*.tfrecord'))
    data = schema.Data(classes=list(CLASSES), train=source, validation=source)
    os.utime(write(tmp_path / 'a.tfrecord', example()), (1, 1))
    first = index.load_dataset(source, data, 'train', tmp_path / 'cache')
    warm = index.load_dataset(source, data, 'train', tmp_path / 'cache')
    assert warm.digest == first.digest
    assert warm.examples[0].read_bytes() == jpeg()
    os.utime(write(tmp_path / 'b.tfrecord', example(source_id=[b'b'])), (1, 1))
    assert len(index.load_dataset(source, data, 'train', tmp_path / 'cache').examples) == 2


@pytest.mark.slow
def test_files_written_by_tensorflow_are_read(tmp_path: pathlib.Path) -> None:
    tf = pytest.importorskip('tensorflow')
    with tf.io.TFRecordWriter(str(tmp_path / 'a.tfrecord')) as writer:
        message = tf.train.Example.FromString(example())
        writer.write(message.SerializeToString())
    (found,), bad = read(tmp_path / 'a.tfrecord')
    assert (found.image_id, found.read_bytes() == jpeg(), bad) == ('a', True, [])


@pytest.mark.slow
def test_our_messages_are_tensorflows(tmp_path: pathlib.Path) -> None:
    tf = pytest.importorskip('tensorflow')
    message = tf.train.Example.FromString(example())
    assert message.features.feature['image/height'].int64_list.value[:] == [40]
    assert message.features.feature['image/object/bbox/xmax'].float_list.value[:] == [0.75]
    (record,) = tf.data.TFRecordDataset(str(write(tmp_path / 'a', example()))).take(1)
    assert record.numpy() == example()


def test_roboflows_folders_are_splits_with_a_label_map_each(tmp_path: pathlib.Path) -> None:
    for split in ('train', 'valid'):
        (tmp_path / split).mkdir()
        write(tmp_path / split / 'cells.tfrecord', example())
        (tmp_path / split / 'cells_label_map.pbtxt').write_text("item { id: 1 name: 'cat' }")
    parts = recognise.parts(schema.DataSource(format='auto', path=str(tmp_path)))
    assert [(part.format, part.split) for part in parts] == [('tfrecord', 'train'), ('tfrecord', 'valid')]
    found, _ = recognise.recognised(schema.DataSource(format='auto', path=str(tmp_path), split='valid'))
    assert found.class_file == str(tmp_path / 'valid' / 'cells_label_map.pbtxt')
    assert recognise.class_names(found) == ('cat',)
