"""`data check`: every fault of a data set that was made dirty is found, with file and object, and none is invented."""

from __future__ import annotations

import io
import pathlib
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data import convert, report, writers
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from tests.data.test_tfrecord import example, framed, jpeg

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder

CLASSES = ('RBC', 'WBC', 'Platelets')


def load(source: schema.DataSource, classes: tuple[str, ...] = CLASSES) -> Dataset:
    data = schema.Data(classes=list(classes), train=source, validation=source, on_bad='skip')
    return load_dataset(source, data, 'train', None)


def examined(folder: VocFolder, split: str | None = None) -> report.SetReport:
    return report.examine(split or 'all', load(folder.source(split), ('cat', 'dog')), 'voc')


def test_a_set_in_numbers(voc_folder: VocFolder) -> None:
    objects = voc_folder.box(0, 0, 10, 10) + voc_folder.box(0, 0, 60, 40) + voc_folder.box(1, 2, 3, 4, 'dog', difficult=1)
    found = examined(voc_folder.add('a', objects).add('bb'))
    assert (found.num_images, found.num_without_objects, found.num_objects, found.num_difficult) == (2, 1, 3, 1)
    assert (found.objects_per_image, found.num_crowds) == ((0, 1.5, 3), 0)
    assert (found.objects_by_class, found.images_by_class) == ({'cat': 2, 'dog': 1}, {'cat': 1, 'dog': 1})
    assert found.objects_by_size == {'small': 2, 'medium': 1, 'large': 0}
    assert (found.image_kinds, found.image_sizes, found.num_image_sizes) == ({'JPEG RGB': 2}, {'60x40': 2}, 1)
    assert (found.faults, found.remarks) == ((), ())


def test_remarks_are_no_faults(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(0, 0, 10, 10) * 2 + ''.join(voc_folder.box(0, 0, 1, n / 3) for n in range(1, 100)))
    shutil.copy(voc_folder.root / 'JPEGImages' / 'a.jpg', voc_folder.root / 'JPEGImages' / 'b.jpg')
    voc_folder.annotation('b')
    found = examined(voc_folder)
    images = voc_folder.root / 'JPEGImages'
    assert found.faults == ()
    assert found.remarks == (
        "class 'dog' has no object",
        '1 image has more than 100 objects, the largest 101: training needs model.parser.max_num_instances of at least 101, and '
        'detections and AP stop at 100 an image by default',
        f'{images / "a.jpg"}: 101 objects',
        f'{images / "a.jpg"}: 1 objects stand in it twice, box and class',
        f'{images / "a.jpg"} and {images / "b.jpg"} show the same picture',
    )


def test_a_picture_in_two_sets_is_a_leak_whatever_its_name_and_metadata(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).add('ccc', voc_folder.box(1, 2, 3, 4)).annotation(
        'b', voc_folder.box(1, 2, 3, 4)
    )
    with_comment = (voc_folder.root / 'JPEGImages' / 'a.jpg').read_bytes()
    with_comment = with_comment[:2] + b'\xff\xfe\x00\x06test' + with_comment[2:]
    (voc_folder.root / 'JPEGImages' / 'b.jpg').write_bytes(with_comment)
    voc_folder.split(['a'], 'train').split(['b', 'ccc'], 'test')
    (leak,) = report.leaks([examined(voc_folder, 'train'), examined(voc_folder, 'test')])
    images = voc_folder.root / 'JPEGImages'
    assert leak == report.Leak('train', str(images / 'a.jpg'), 'test', str(images / 'b.jpg'))
    assert str(leak) == f'{images / "a.jpg"} (train) and {images / "b.jpg"} (test) show the same picture'


# ---- BCCD, made dirty -----------------------------------------------------------------------------------------------------


class Dirty:
    """A copy of some images of BCCD in VOC layout, to spoil; each fault takes an image of its own, in order."""

    def __init__(self, bccd: pathlib.Path, root: pathlib.Path, num_images: int) -> None:
        self.root = root
        self.ids = (bccd / 'ImageSets' / 'Main' / 'test.txt').read_text().split()[:num_images]
        for folder, suffix in (('Annotations', '.xml'), ('JPEGImages', '.jpg')):
            (root / folder).mkdir(parents=True)
            for image_id in self.ids:
                shutil.copy(bccd / folder / f'{image_id}{suffix}', root / folder)
        self.expected: set[tuple[str, str, str]] = set()
        self._next = iter(self.ids)

    def source(self) -> schema.DataSource:
        return schema.DataSource(format='voc', path=str(self.root))

    def object(self, old: str, new: str, element: str, reason: str) -> None:
        """Replaces text of the first object of the next image."""
        name = f'{next(self._next)}.xml'
        self._edit(name, lambda text: text[: (start := text.index('<object>'))] + _replaced(text[start:], old, new))
        self.expected.add((name, f'object[1]/{element}', reason))

    def annotation(self, old: str, new: str, element: str, reason: str) -> None:
        """Replaces text of the next annotation."""
        name = f'{next(self._next)}.xml'
        self._edit(name, lambda text: _replaced(text, old, new))
        self.expected.add((name, element, reason))

    def image(self, change: Callable[[bytes], bytes], reason: str) -> None:
        """Changes the bytes of the next image."""
        file = self.root / 'JPEGImages' / f'{next(self._next)}.jpg'
        file.write_bytes(change(file.read_bytes()))
        self.expected.add((file.name, '', reason))

    def rotated(self, orientation: int, element: str, reason: str) -> None:
        """Gives the next image an EXIF orientation that contradicts the size in its annotation."""
        image_id = next(self._next)
        file = self.root / 'JPEGImages' / f'{image_id}.jpg'
        exif = Image.Exif()
        exif[0x0112] = orientation
        file.write_bytes(_saved(file.read_bytes(), 'JPEG', exif=exif))
        self.expected.add((f'{image_id}.xml', element, reason))

    def _edit(self, name: str, change: Callable[[str], str]) -> None:
        file = self.root / 'Annotations' / name
        file.write_text(change(file.read_text()))


def _replaced(text: str, old: str, new: str) -> str:
    before, _, rest = text.partition(f'<{old}>')
    return before + new + rest.partition(f'</{old}>')[2]


def _saved(data: bytes, image_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(buffer, image_format, **options)
    return buffer.getvalue()


def _large_png(data: bytes) -> bytes:
    """Returns a PNG of 8,000 x 8,000 pixels in some kilobytes."""
    buffer = io.BytesIO()
    Image.new('1', (8000, 8000)).save(buffer, 'PNG')
    return buffer.getvalue()


def _bomb(data: bytes) -> bytes:
    """Returns a PNG of 14,000 x 14,000 pixels in some kilobytes."""
    buffer = io.BytesIO()
    Image.new('1', (14_000, 14_000)).save(buffer, 'PNG')
    return buffer.getvalue()


def test_every_fault_of_a_dirty_bccd_is_found_and_none_invented(bccd: pathlib.Path, tmp_path: pathlib.Path) -> None:
    dirty = Dirty(bccd, tmp_path / 'voc', 26)
    dirty.object('xmax', '<xmax>1</xmax>', 'bndbox', 'the box is inverted')
    dirty.object('bndbox', _box(5, 5, 5, 50), 'bndbox', 'the box has no area')
    dirty.object('xmin', '<xmin>nan</xmin>', 'bndbox', 'coordinates must be finite')
    dirty.object('ymin', '<ymin>-inf</ymin>', 'bndbox', 'coordinates must be finite')
    dirty.object('xmax', '<xmax>9000</xmax>', 'bndbox', 'the box leaves the image')
    dirty.object('xmax', '', 'bndbox/xmax', 'expected exactly one')
    dirty.object('name', '<name>background</name>', 'name', "class 'background' is not in data.classes")
    dirty.annotation('size', '<size><width>480</width><height>640</height></size>', 'size', 'says 480x640')
    dirty.annotation('filename', '<filename>gone.jpg</filename>', 'filename', 'no such file')
    dirty.annotation('filename', '<filename>/etc/passwd</filename>', 'filename', 'expected a name inside')
    dirty.annotation('annotation', '', '', 'not well-formed XML')
    dirty.rotated(6, 'size', 'says 640x480, the image has 480x640 pixels when turned upright (EXIF orientation 6)')
    dirty.image(lambda data: data[: len(data) // 2], 'the image data is broken')
    dirty.image(lambda data: b'some text', 'neither JPEG, PNG nor BMP')
    dirty.image(lambda data: b'', 'the file is empty')
    dirty.image(lambda data: _saved(data, 'GIF'), 'a GIF')
    dirty.image(lambda data: _saved(data, 'WEBP'), 'a WebP')
    dirty.image(lambda data: _saved(data, 'TIFF'), 'a TIFF')
    dirty.image(_large_png, 'the image has 8000x8000')
    dirty.image(_bomb, 'the image is too large to open')
    found = report.examine('dirty', load(dirty.source()), 'voc').faults
    assert {(pathlib.Path(item.file).name, item.element) for item in found} == {one[:2] for one in dirty.expected}
    assert len(found) == len(dirty.expected) == 20
    reasons = {(pathlib.Path(item.file).name, item.element): item.reason for item in found}
    assert [one for one in dirty.expected if not reasons[one[:2]].startswith(one[2])] == []


def test_nothing_is_invented_on_the_clean_bccd(bccd: pathlib.Path) -> None:
    source = schema.DataSource(format='voc', path=str(bccd), split='test')
    found = report.examine('test', load(source), 'voc')
    assert (found.num_images, found.num_objects, found.faults, found.remarks) == (72, 945, (), ())


def _box(xmin: int, ymin: int, xmax: int, ymax: int) -> str:
    return f'<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>'


def test_every_fault_of_dirty_records_is_found(tmp_path: pathlib.Path) -> None:
    """What only TFRecords can have wrong; the reader's own tests go through the rest."""
    faults: list[tuple[bytes, str, str]] = [
        (example(source_id=[b'1'], **{'object/bbox/xmax': [45.0]}), 'object[1]/bbox', 'are these pixels?'),
        (example(source_id=[b'2'], **{'object/class/label': [0]}), 'object[1]/class/label', 'found 0'),
        (example(source_id=[b'3'], **{'object/class/label': [99]}), 'object[1]/class/label', 'found 99'),
        (example(source_id=[b'4'], **{'object/class/label': [-5]}), 'object[1]/class/label', 'found -5'),
        (example(source_id=[b'5'], **{'object/class/label': [1, 2]}), 'image/object', 'expected lists of one length'),
        (example(source_id=[b'6'], encoded=None), 'image/encoded', 'expected one value, found 0'),
        (example(source_id=[b'7'], encoded=[jpeg()[:-200]]), 'image/encoded', 'the image data is broken'),
        (example(source_id=[b'8'], height=[60]), 'image/height', 'says 60'),
        (b'\xff\xff\xff', '', 'not a tf.train.Example'),
    ]
    good = framed(example(source_id=[b'good']))
    flipped = bytearray(framed(example(source_id=[b'10'])))
    flipped[100] ^= 1
    content = good + b''.join(framed(record) for record, _, _ in faults) + bytes(flipped) + good[:50]
    (tmp_path / 'a-1.tfrecord').write_bytes(content)
    (tmp_path / 'a-2.tfrecord').write_bytes(b'')
    source = schema.DataSource(format='tfrecord', path=str(tmp_path / '*.tfrecord'))
    found = report.examine('dirty', load(source, ('cat', 'dog')), 'tfrecord').faults
    expected = [
        (f'record {number}: {element}'.removesuffix(': '), reason) for number, (_, element, reason) in enumerate(faults, 2)
    ]
    expected += [('record 11', 'wrong checksum of its data'), ('record 12', 'it is truncated'), ('', 'the file is empty')]
    assert sorted(item.element for item in found) == sorted(element for element, _ in expected)
    reasons = {item.element: item.reason for item in found}
    assert [element for element, reason in expected if reason not in reasons[element]] == []


@pytest.mark.slow
@pytest.mark.parametrize('to', ['coco', 'csv', 'tfrecord'])
def test_nothing_is_invented_in_other_forms_of_bccd(bccd: pathlib.Path, tmp_path: pathlib.Path, to: str) -> None:
    clean = load(schema.DataSource(format='voc', path=str(bccd), split='test'))
    convert.convert(convert.plan(clean, to, 'test'), tmp_path / 'out')
    there = load(writers.WRITERS[to].source(tmp_path / 'out', 'test'))
    found = report.examine('test', there, to)
    assert (found.num_objects, found.faults, found.remarks) == (945, (), ())
    assert len(report.leaks([report.examine('voc', clean, 'voc'), found])) == 72


def test_numbers_go_into_json(voc_folder: VocFolder) -> None:
    found = examined(voc_folder.add('a', voc_folder.box(1, 2, 3, 4) + voc_folder.box(3, 2, 1, 4))).to_json()
    assert found['faults'] == [
        {
            'file': str(voc_folder.root / 'Annotations' / 'a.xml'),
            'element': 'object[2]/bndbox',
            'kind': 'inverted box',
            'reason': 'the box is inverted: expected xmin < xmax and ymin < ymax, found ymin=2 xmin=3 ymax=4 xmax=1',
        }
    ]
    assert 'pictures' not in found
    assert np.isclose(found['objects_per_image'][1], 1)
