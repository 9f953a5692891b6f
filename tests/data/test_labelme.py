"""LabelMe's JSON: shapes, images in other folders, and what is said about every kind of fault."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.data import index, labelme, masks, recognise
from stagetrain.data.annotation import BadItem, Example, Kind
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image

CLASSES = ('cat', 'dog')


def shape(*points: Any, label: Any = 'cat', kind: str | None = 'rectangle', group: Any = None, **more: Any) -> dict[str, Any]:
    return {'label': label, 'points': list(points), 'group_id': group, 'shape_type': kind, 'flags': {}} | more


BOX = shape([30, 20], [10, 5])


def write(file: pathlib.Path, *shapes: Any, image: Any = 'a.jpg', **changes: Any) -> pathlib.Path:
    """Writes a JSON; a change to None removes the key."""
    content = {'version': '5.2.1', 'flags': {}, 'shapes': list(shapes), 'imagePath': image, 'imageData': None}
    content |= {'imageHeight': 40, 'imageWidth': 60} | changes
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return file


def read(root: pathlib.Path, *shapes: Any, **options: Any) -> tuple[list[Example], list[BadItem]]:
    """Writes `a.json` beside `a.jpg` of 60x40."""
    add_image(root, 'a.jpg')
    write(root / 'a.json', *shapes)
    return labelme.read(schema.DataSource(format='labelme', path=str(root), **options), CLASSES, 10**6)


def test_shapes_become_boxes(tmp_path: pathlib.Path) -> None:
    shapes = [
        BOX,
        shape([1, 2], [9, 3], [5, 8], label='dog', kind='polygon'),
        shape([20, 20], [23, 24], kind='circle'),
        shape([1, 1], [5, 1], [5, 4], kind=None),
        shape([1, 1], [2, 2], kind='rectangle', flags={'difficult': True}),
        shape([1, 1], [2, 2], kind='rectangle', is_crowd=True),
    ]
    (found,), bad = read(tmp_path, *shapes)
    assert bad == []
    assert found.boxes_yxyx_px.tolist() == [
        [5, 10, 20, 30],
        [2, 1, 8, 9],
        [15, 15, 25, 25],
        [1, 1, 4, 5],
        [1, 1, 2, 2],
        [1, 1, 2, 2],
    ]
    assert found.classes.tolist() == [1, 2, 1, 1, 1, 1]
    assert (found.difficult.tolist().index(True), found.is_crowd.tolist().index(True)) == (4, 5)
    source = schema.DataSource(format='auto', path=str(tmp_path))
    assert recognise.recognised(source)[1] == f'{tmp_path / "a.json"} is a JSON file with shapes'
    assert recognise.class_names(source) == CLASSES


def test_shapes_of_one_group_are_one_object(tmp_path: pathlib.Path) -> None:
    parts = [shape([x, 5], [x + 5, 5], [x + 5, 10], [x, 10], kind='polygon', group=7) for x in (5, 20)]
    (found,), bad = read(tmp_path, *parts, shape([1, 1], [2, 2], label='dog', group=7), masks=False)
    assert (found.boxes_yxyx_px.tolist(), bad) == ([[5, 5, 10, 25], [1, 1, 2, 2]], [])
    (found,), (no_mask,) = read(tmp_path, *parts, BOX, masks=True)
    assert found.masks is not None
    assert masks.pixels(found.masks, 40, 60)[0].sum() == 2 * 25
    assert (no_mask.element, no_mask.reason) == ('shapes[2]', 'expected a polygon, found a rectangle: it has no mask')


@pytest.mark.parametrize(
    ('wrong', 'element', 'reason'),
    [
        (
            shape([1, 1], kind='point'),
            'shapes[1]',
            "expected a rectangle, polygon or circle, found a point ('cat'): it has no box",
        ),
        (shape([1, 1], [2, 2], kind='linestrip'), 'shapes[1]', 'expected a rectangle'),
        (shape([1, 1]), 'shapes[1].points', 'expected at least 2 points, found 1'),
        (shape([1, 1, 1], [2, 2]), 'shapes[1].points', 'expected pairs [x, y], found [[1, 1, 1], [2, 2]]'),
        (shape(['1', 1], [2, 2]), 'shapes[1].points', 'expected a number, found "1"'),
        (shape([1, 1], [2, 2], label=None), 'shapes[1]', 'expected a shape with a label'),
        (shape([1, 1], [2, 2], label='cow'), 'shapes[1]', "class 'cow' is not in data.classes (cat, dog)"),
        (shape([1, 1], [99, 2]), 'shapes[1]', 'the box leaves the image of 60x40'),
        (shape([1, 1], [1, 2]), 'shapes[1]', 'the box has no area'),
        (shape([1, 1], [2, 2], flags={'difficult': 'yes'}), 'shapes[1].difficult', 'expected true or false, found "yes"'),
        ('text', 'shapes[1]', 'expected a shape with a label'),
    ],
)
def test_a_bad_shape_is_named_and_the_others_stay(tmp_path: pathlib.Path, wrong: Any, element: str, reason: str) -> None:
    (found,), (bad,) = read(tmp_path, BOX, wrong)
    assert (len(found.classes), bad.file, bad.element) == (1, str(tmp_path / 'a.json'), element)
    assert bad.reason.startswith(reason)


@pytest.mark.parametrize(
    ('text', 'reason'),
    [
        ('{', 'expected JSON of LabelMe, but it is no JSON'),
        ('[]', 'expected JSON of LabelMe, an object with a list shapes; found: list'),
        ('{"a": 1}', 'expected JSON of LabelMe, an object with a list shapes; found: a'),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: pathlib.Path, text: str, reason: str) -> None:
    (tmp_path / 'b.json').write_text(text)
    _, (bad,) = read(tmp_path, BOX)
    assert (bad.file, bad.reason.startswith(reason)) == (str(tmp_path / 'b.json'), True)


def test_a_stated_size_that_contradicts_the_image_is_bad(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    write(tmp_path / 'a.json', BOX, imageHeight=41)
    _, (bad,) = labelme.read(schema.DataSource(format='labelme', path=str(tmp_path)), CLASSES, 10**6)
    assert bad.reason == 'says 60x41, the image a.jpg has 60x40 pixels'


@pytest.mark.parametrize('image', ['a.jpg', 'a.JPG', 'a.png', 'gone\\a.jpg', None])
def test_a_path_that_lies_about_folder_or_suffix_finds_its_image(tmp_path: pathlib.Path, image: str | None) -> None:
    add_image(tmp_path, 'a.jpg')
    write(tmp_path / 'a.json', BOX, image=image)
    (found,), _ = labelme.read(schema.DataSource(format='labelme', path=str(tmp_path)), CLASSES, 10**6)
    assert (found.image_id, found.path) == ('a', str(tmp_path / 'a.jpg'))


@pytest.mark.parametrize(
    ('image', 'kind'),
    [('b.jpg', Kind.MISSING), ('../a.jpg', Kind.PLACE), ('/etc/passwd', Kind.PLACE), ('C:\\a.jpg', Kind.PLACE)],
)
def test_another_image_or_one_outside_is_refused(tmp_path: pathlib.Path, image: str, kind: str) -> None:
    add_image(tmp_path, 'set/a.jpg')
    add_image(tmp_path, 'a.jpg')
    write(tmp_path / 'set' / 'a.json', BOX, image=image)
    examples, (bad,) = labelme.read(schema.DataSource(format='labelme', path=str(tmp_path / 'set')), CLASSES, 10**6)
    assert (examples, bad.element, bad.kind) == ([], 'imagePath', kind)


def test_images_in_a_folder_of_their_own_have_the_same_ids(tmp_path: pathlib.Path) -> None:
    digests = []
    for folder, path in (('', 'a.jpg'), ('labels/', '..\\images\\a.jpg')):
        root = tmp_path / (folder or 'flat')
        add_image(root if not folder else tmp_path / 'images', 'a.jpg')
        write(root / 'a.json', BOX, image=path)
        source = schema.DataSource(format='auto', path=str(tmp_path if folder else root))
        data = schema.Data(classes=['cat'], train=source, validation=source)
        dataset = index.load_dataset(source, data, 'train', None)
        digests.append(dataset.digest)
        if not folder:
            (root / 'a.json').unlink()
    assert digests[0] == digests[1]


def test_folders_are_splits_and_one_file_is_read_alone(tmp_path: pathlib.Path) -> None:
    for split in ('train', 'val'):
        add_image(tmp_path / split, 'a.jpg')
        write(tmp_path / split / 'a.json', BOX)
    parts = recognise.parts(schema.DataSource(format='auto', path=str(tmp_path)))
    assert [(part.format, part.split) for part in parts] == [('labelme', 'train'), ('labelme', 'val')]
    assert [found.image_id for found in labelme.read(parts[1], CLASSES, 10**6)[0]] == ['a']
    alone = schema.DataSource(format='auto', path=str(tmp_path / 'train' / 'a.json'))
    np.testing.assert_array_equal(recognise.read(alone, CLASSES, 10**6)[0][0].boxes_yxyx_px, [[5, 10, 20, 30]])
    with pytest.raises(DataError, match=r'tset: no such folder; expected JSON files of LabelMe. Known here: train, val'):
        labelme.read(schema.DataSource(format='labelme', path=str(tmp_path), split='tset'), CLASSES, 10**6)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty: expected JSON files of LabelMe, found none'):
        labelme.read(schema.DataSource(format='labelme', path=str(tmp_path / 'empty')), CLASSES, 10**6)
