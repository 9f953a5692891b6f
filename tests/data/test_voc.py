"""The VOC reader: what it gives, and what it says about every kind of fault."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.data import index, voc
from stagetrain.data.annotation import BadItem, Example
from stagetrain.errors import DataError

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder

CLASSES = ('cat', 'dog')
GOOD = '<object><name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox></object>'


def read(folder: VocFolder, split: str | None = None, max_image_pixels: int = 10**6) -> tuple[list[Example], list[BadItem]]:
    return voc.read(folder.source(split), CLASSES, max_image_pixels)


def only_fault(folder: VocFolder) -> BadItem:
    """Adds a good image, so that the data set as a whole stands, and returns the one fault."""
    folder.add('zz_good', GOOD)
    _, bad = read(folder)
    assert len(bad) == 1
    return bad[0]


def test_boxes_classes_and_flags_are_read_as_they_stand(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(10, 20, 30.5, 40, 'dog') + voc_folder.box(0, 0, 60, 40, 'cat', difficult=1))
    (example,), bad = read(voc_folder)
    assert bad == []
    assert (example.image_id, example.height, example.width, example.offset) == ('a', 40, 60, None)
    np.testing.assert_array_equal(example.boxes_yxyx_px, np.float32([[20, 10, 40, 30.5], [0, 0, 40, 60]]))
    np.testing.assert_array_equal(example.classes, [2, 1])
    np.testing.assert_array_equal(example.difficult, [False, True])
    np.testing.assert_array_equal(example.is_crowd, [False, False])
    assert example.read_bytes() == (voc_folder.root / 'JPEGImages' / 'a.jpg').read_bytes()


def test_a_crowd_is_read_where_it_is_marked(voc_folder: VocFolder) -> None:
    (example,), _ = read(voc_folder.add('a', GOOD + GOOD.replace('<bndbox>', '<is_crowd>1</is_crowd><bndbox>')))
    assert example.is_crowd.tolist() == [False, True]


def test_classes_are_those_of_a_split_sorted(voc_folder: VocFolder) -> None:
    voc_folder.add('a', voc_folder.box(1, 2, 3, 4, 'dog') + GOOD).add('b', GOOD.replace('cat', 'cow')).split(['a'])
    assert voc.class_names(voc_folder.source('trainval')) == ('cat', 'dog')
    assert voc.class_names(voc_folder.xml('c', 'broken').source()) == ('cat', 'cow', 'dog')


def test_an_image_without_objects_is_kept(voc_folder: VocFolder) -> None:
    (example,), _ = read(voc_folder.add('a'))
    assert example.boxes_yxyx_px.shape == (0, 4)
    assert example.boxes_yxyx_px.dtype == np.float32


def test_a_split_is_read_in_its_order(voc_folder: VocFolder) -> None:
    voc_folder.add('a').add('b').add('c').split(['c', '', ' a '])
    examples, _ = read(voc_folder, 'trainval')
    assert [example.image_id for example in examples] == ['c', 'a']


def test_parts_of_an_object_are_not_its_box(voc_folder: VocFolder) -> None:
    part = '<part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>'
    (example,), bad = read(voc_folder.add('a', GOOD.replace('</object>', f'{part}</object>')))
    assert bad == []
    np.testing.assert_array_equal(example.boxes_yxyx_px, [[2, 1, 4, 3]])


@pytest.mark.parametrize(
    ('wrong', 'element', 'reason'),
    [
        (('xmax>3<', 'xmax>1<'), 'bndbox', 'the box has no area'),
        (('xmax>3<', 'xmax>0<'), 'bndbox', 'the box is inverted'),
        (('xmax>3<', 'xmax>nan<'), 'bndbox', 'coordinates must be finite'),
        (('xmax>3<', 'xmax>inf<'), 'bndbox', 'coordinates must be finite'),
        (('xmax>3<', 'xmax>62<'), 'bndbox', 'the box leaves the image of 60x40 pixels'),
        (('xmax>3<', 'xmax>wide<'), 'bndbox/xmax', "expected a number, found 'wide'"),
        (('xmax>3<', 'xmax> <'), 'bndbox/xmax', 'is empty'),
        (('<xmax>3</xmax>', ''), 'bndbox/xmax', 'expected exactly one, found 0'),
        (('<xmax>3</xmax>', '<xmax>3</xmax><xmax>4</xmax>'), 'bndbox/xmax', 'expected exactly one, found 2'),
        (('bndbox', 'polygon'), 'bndbox', 'expected exactly one, found 0'),
        (('<name>cat</name>', ''), 'name', 'expected exactly one, found 0'),
        (('cat', 'cow'), 'name', "class 'cow' is not in data.classes (cat, dog)"),
        (('<bndbox>', '<difficult>maybe</difficult><bndbox>'), 'difficult', "expected 0 or 1, found 'maybe'"),
    ],
)
def test_a_bad_box_is_dropped_and_the_others_stay(
    voc_folder: VocFolder, wrong: tuple[str, str], element: str, reason: str
) -> None:
    (example,), (bad,) = read(voc_folder.add('a', GOOD + GOOD.replace(*wrong) + GOOD))
    assert len(example.classes) == 2
    assert (bad.file, bad.element) == (str(voc_folder.root / 'Annotations' / 'a.xml'), f'object[2]/{element}')
    assert bad.reason.startswith(reason)


@pytest.mark.parametrize(
    ('text', 'element', 'reason'),
    [
        ('<annotation><filename>', '', 'not well-formed XML'),
        ('', '', 'not well-formed XML'),
        ('<objects/>', 'objects', "expected the root element 'annotation'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', '', 'a document type or entity declaration'),
        ('<annotation/>', 'size', 'expected exactly one, found 0'),
        ('<annotation><filename>a.jpg</filename><filename>b.jpg</filename></annotation>', 'filename', 'expected exactly one'),
        ('<annotation><filename>a.jpg</filename></annotation>', 'size', 'expected exactly one, found 0'),
        ('<annotation>' + ' ' * voc.MAX_XML_BYTES + '</annotation>', '', 'the file is larger than 4,194,304 bytes'),
    ],
)
def test_an_unusable_annotation_drops_the_image(voc_folder: VocFolder, text: str, element: str, reason: str) -> None:
    bad = only_fault(voc_folder.image('a').xml('a', text))
    assert (bad.file, bad.element) == (str(voc_folder.root / 'Annotations' / 'a.xml'), element)
    assert bad.reason.startswith(reason)


def test_an_annotation_in_another_encoding_is_bad(voc_folder: VocFolder) -> None:
    file = voc_folder.add('a').root / 'Annotations' / 'a.xml'
    file.write_bytes(b'<annotation><filename>caf\xe9.jpg</filename></annotation>')
    assert only_fault(voc_folder).reason.startswith(
        'expected UTF-8 text: invalid continuation byte at byte 25; it looks like an older'
    )


@pytest.mark.parametrize('filename', ['../a.jpg', '/a.jpg', 'x/../../a.jpg', '..\\a.jpg'])
def test_an_image_outside_its_folder_is_bad(voc_folder: VocFolder, filename: str) -> None:
    bad = only_fault(voc_folder.image('a').annotation('a', filename=filename))
    assert (bad.element, bad.reason) == ('filename', f"expected a name inside 'JPEGImages', found '{filename}'")


def test_a_missing_image_is_bad(voc_folder: VocFolder) -> None:
    bad = only_fault(voc_folder.annotation('a'))
    assert (bad.element, bad.reason) == ('filename', "no such file: 'JPEGImages/a.jpg'")


def test_a_broken_image_is_bad(voc_folder: VocFolder) -> None:
    file = voc_folder.add('a').root / 'JPEGImages' / 'a.jpg'
    file.write_bytes(file.read_bytes()[:-200])
    bad = only_fault(voc_folder)
    assert bad.file == str(file)
    assert bad.reason.startswith('the image data is broken')


def test_an_oversized_image_is_bad(voc_folder: VocFolder) -> None:
    voc_folder.add('a').image('b', (80, 40)).annotation('b', size=(80, 40))
    _, (bad,) = read(voc_folder, max_image_pixels=2400)
    assert bad.reason == 'the image has 80x40 = 3,200 pixels; data.max_image_pixels is 2,400'


@pytest.mark.parametrize('size', [(40, 60), (0, 0), ('inf', 'nan')])
def test_a_size_that_contradicts_the_image_is_bad(voc_folder: VocFolder, size: tuple[object, object]) -> None:
    bad = only_fault(voc_folder.image('a').annotation('a', size=size))
    assert bad.element == 'size'
    assert bad.reason.endswith('the image has 60x40 pixels')


def test_a_missing_annotation_is_bad(voc_folder: VocFolder) -> None:
    _, (bad,) = read(voc_folder.add('a').split(['a', 'gone']), 'trainval')
    assert (bad.file, bad.reason) == (
        str(voc_folder.root / 'Annotations' / 'gone.xml'),
        "no such file: 'Annotations/gone.xml'",
    )


@pytest.mark.parametrize('image_id', ['../a', '/a', 'a\0b', '..\\a'])
def test_an_id_outside_the_annotations_is_bad(voc_folder: VocFolder, tmp_path: pathlib.Path, image_id: str) -> None:
    folder = voc_folder.add('a', voc_folder.box(1, 2, 3, 4)).split(['a', image_id])
    _, (bad,) = read(folder, 'trainval')
    assert bad.reason == f"expected a name inside 'Annotations', found '{image_id}.xml'"
    data = schema.Data(classes=['cat'], train=folder.source(), validation=folder.source(), on_bad='skip')
    assert index.load_dataset(folder.source('trainval'), data, 'train', tmp_path / 'cache').bad == (bad,)


def test_a_repeated_id_is_bad_and_read_once(voc_folder: VocFolder) -> None:
    examples, (bad,) = read(voc_folder.add('a').add('b').split(['a', 'b', 'a']), 'trainval')
    assert len(examples) == 2
    assert (bad.element, bad.reason) == ('line 3', "'a' stands in line 1 already")


def test_a_missing_split_names_the_known_and_the_nearest(voc_folder: VocFolder) -> None:
    voc_folder.add('a').split(['a']).split(['a'], 'test')
    with pytest.raises(DataError, match=r"no split 'trainvla'. Known here: test, trainval. Did you mean 'trainval'\?"):
        read(voc_folder, 'trainvla')


def test_an_empty_split_is_refused(voc_folder: VocFolder) -> None:
    with pytest.raises(DataError, match='trainval.txt: the split is empty'):
        read(voc_folder.split(['']), 'trainval')


def test_a_split_that_is_not_text_is_refused(voc_folder: VocFolder) -> None:
    (voc_folder.root / 'ImageSets' / 'Main' / 'odd.txt').write_bytes(b'\xff\xfe')
    with pytest.raises(DataError, match='odd.txt: expected UTF-8 text'):
        read(voc_folder, 'odd')


def test_a_folder_without_annotations_is_refused(voc_folder: VocFolder) -> None:
    with pytest.raises(DataError, match='expected .xml files, found none'):
        read(voc_folder)


def test_a_data_set_without_a_usable_image_is_read_with_its_faults(voc_folder: VocFolder) -> None:
    examples, (bad,) = read(voc_folder.annotation('a'))
    assert (examples, bad.element, bad.reason) == ([], 'filename', "no such file: 'JPEGImages/a.jpg'")


def test_a_missing_root_names_the_nearest(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'bccd').mkdir()
    with pytest.raises(DataError, match=r"bcdc: no such folder; .* Did you mean 'bccd'\?"):
        voc.read(schema.DataSource(format='voc', path=str(tmp_path / 'bcdc')), CLASSES, 100)


def test_a_folder_above_the_root_says_so(voc_folder: VocFolder) -> None:
    above = voc_folder.root.parent
    with pytest.raises(DataError, match=r'or .xml files beside images, found: voc. Did you mean .*voc\?'):
        voc.read(schema.DataSource(format='voc', path=str(above)), CLASSES, 100)


def test_inputs_are_the_files_that_decide(voc_folder: VocFolder) -> None:
    voc_folder.add('a').add('b').split(['b'])
    names = [os.path.relpath(path, voc_folder.root) for path in voc.inputs(voc_folder.source('trainval'))]
    assert names == ['ImageSets/Main/trainval.txt', 'JPEGImages', 'Annotations/b.xml']


def test_bccd_has_two_boxes_without_area(bccd: pathlib.Path) -> None:
    source = schema.DataSource(format='voc', path=str(bccd), split='trainval')
    examples, bad = voc.read(source, ('RBC', 'WBC', 'Platelets'), 50_000_000)
    assert (len(examples), sum(len(example.classes) for example in examples)) == (292, 3941)
    assert [(os.path.basename(item.file), item.element) for item in bad] == [
        ('BloodImage_00338.xml', 'object[13]/bndbox'),
        ('BloodImage_00343.xml', 'object[4]/bndbox'),
    ]
    assert all(item.reason.startswith('the box has no area') for item in bad)
