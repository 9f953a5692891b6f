"""The COCO reader: what it gives, and what it says about every kind of fault."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from stagetrain.config import schema
from stagetrain.data import coco, masks, recognise
from stagetrain.data.annotation import BadItem, Example
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco

CLASSES = ('cat', 'dog')


def read(path: pathlib.Path, **options: Any) -> tuple[list[Example], list[BadItem]]:
    return coco.read(schema.DataSource(format='coco', path=str(path), **options), CLASSES, 10**6)


def one_image(folder: pathlib.Path, *annotations: Any) -> tuple[list[Example], list[BadItem]]:
    add_image(folder, 'a.jpg')
    return read(write_coco(folder / 'a.json', [coco_image(5, 'a.jpg')], annotations))


def test_boxes_classes_and_flags_are_read(tmp_path: pathlib.Path) -> None:
    crowd = coco_object(2, 5, [0, 0, 60, 40], 7, iscrowd=1)
    (found,), bad = one_image(tmp_path, coco_object(1, 5, [30.5, 10, 15, 10]), crowd, coco_object(3, 5, difficult=1))
    assert (found.image_id, found.height, found.width, bad) == ('a', 40, 60, [])
    np.testing.assert_array_equal(found.boxes_yxyx_px, np.float32([[10, 30.5, 20, 45.5], [0, 0, 40, 60], [10, 30, 20, 45]]))
    assert (found.classes.tolist(), found.is_crowd.tolist()) == ([1, 2, 1], [False, True, False])
    assert found.difficult.tolist() == [False, False, True]


@pytest.mark.parametrize(
    'segmentation', [[[1, 1, 2, 2, 3, 1]], [], {'counts': 'abc', 'size': [40, 60]}, {'counts': [3, 4], 'size': [40, 60]}]
)
def test_segmentation_is_passed_over(tmp_path: pathlib.Path, segmentation: Any) -> None:
    (found,), bad = one_image(tmp_path, coco_object(1, 5, segmentation=segmentation))
    assert (len(found.classes), bad) == (1, [])


def test_masks_are_read_where_asked_for(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    objects = [
        coco_object(1, 5, [30, 10, 15, 10], segmentation=[[30, 10, 45, 10, 45, 20, 30, 20]]),
        coco_object(2, 5, segmentation={'counts': [3, 4], 'size': [40, 60]}),
        coco_object(3, 5, [0, 0, 1, 2], segmentation={'counts': [0, 2, 2398], 'size': [40, 60]}),
    ]
    (found,), (bad,) = read(write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg')], objects), masks=True)
    pixels = masks.pixels(found.masks, found.height, found.width)
    assert pixels.sum(axis=(1, 2)).tolist() == [150, 2] and pixels[0, 10:20, 30:45].all()
    assert (bad.element, bad.reason[:25]) == ('annotations[1] (id 2).segmentation', 'run lengths over 7 pixels')
    assert found.select(np.array([False, True])).masks == found.masks[1:]


def test_an_image_without_annotations_is_kept(tmp_path: pathlib.Path) -> None:
    (found,), bad = one_image(tmp_path)
    assert (found.boxes_yxyx_px.shape, found.boxes_yxyx_px.dtype, bad) == ((0, 4), np.float32, [])


def test_an_entry_without_a_size_is_measured(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    (found,), _ = read(write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg', height=None, width=None)], []))
    assert (found.height, found.width) == (40, 60)


def test_categories_with_holes_in_their_ids_are_told_in_order(tmp_path: pathlib.Path) -> None:
    file = write_coco(tmp_path / 'a.json', [], [], {90: 'dog', 1: 'cat', 13: 'cow'})
    assert coco.class_names(schema.DataSource(format='coco', path=str(file))) == ('cat', 'cow', 'dog')


@pytest.mark.parametrize(
    ('changes', 'element', 'reason'),
    [
        ({'bbox': [30, 10, 0, 10]}, '.bbox', 'the box has no area'),
        ({'bbox': [30, 10, -5, 10]}, '.bbox', 'the box is inverted'),
        ({'bbox': [float('nan'), 10, 5, 10]}, '.bbox', 'coordinates must be finite'),
        ({'bbox': [10**400, 10, 5, 10]}, '.bbox', 'coordinates must be finite'),
        ({'bbox': [50, 10, 15, 10]}, '.bbox', 'the box leaves the image of 60x40'),
        ({'bbox': [1, 2, 3]}, '.bbox', 'expected 4 numbers (x, y, width, height), found [1, 2, 3]'),
        ({'bbox': 'wide'}, '.bbox', 'expected 4 numbers (x, y, width, height), found "wide"'),
        ({'bbox': None}, '.bbox', 'expected 4 numbers (x, y, width, height), found null'),
        ({'bbox': [1, '2', 3, 4]}, '.bbox', 'expected a number, found "2"'),
        ({'bbox': [1, True, 3, 4]}, '.bbox', 'expected a number, found true'),
        ({'category': 0}, '.category_id', 'found 0, expected one of 3 (cat), 7 (dog)'),
        ({'category': 99}, '.category_id', 'found 99'),
        ({'category': 'cat'}, '.category_id', "found 'cat'"),
        ({'image': 6}, '.image_id', 'found 6, expected the id of an image'),
        ({'image': [5]}, '.image_id', 'found [5], expected the id of an image'),
        ({'iscrowd': 2}, '.iscrowd', 'expected 0 or 1, found 2'),
        ({'difficult': 'no'}, '.difficult', 'expected 0 or 1, found "no"'),
    ],
)
def test_a_bad_annotation_is_dropped_and_the_others_stay(
    tmp_path: pathlib.Path, changes: dict[str, Any], element: str, reason: str
) -> None:
    wrong = coco_object(22, **{'image': 5} | changes)
    (found,), (bad,) = one_image(tmp_path, coco_object(11, 5), wrong, coco_object(33, 5))
    assert len(found.classes) == 2
    assert (bad.file, bad.element) == (str(tmp_path / 'a.json'), f'annotations[1] (id 22){element}')
    assert bad.reason.startswith(reason)


def test_an_annotation_that_is_no_object_is_dropped(tmp_path: pathlib.Path) -> None:
    _, (bad,) = one_image(tmp_path, [1])
    assert (bad.element, bad.reason) == ('annotations[0]', 'expected an object, found list')


def test_a_class_that_is_not_asked_for_is_bad(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    file = write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg')], [coco_object(1, 5, category=1)], {1: 'cow'})
    assert read(file)[1][0].reason == "class 'cow' is not in data.classes (cat, dog)"


@pytest.mark.parametrize(
    ('image', 'element', 'reason'),
    [
        (7, 'images[1]', 'expected an object, found int'),
        (coco_image(6, 'b.jpg', id=None), 'images[1].id', 'expected an integer or text, found None'),
        (coco_image(5, 'b.jpg'), 'images[1]', 'id 5 is that of images[0] already'),
        (coco_image(6, 'b.jpg', file_name=None), 'images[1].file_name', 'expected a name, found None'),
        (coco_image(6, 'b.jpg', width=40), 'images[1]', 'says 40x40, the image b.jpg has 60x40 pixels'),
        (coco_image(6, 'b.jpg', width=None), 'images[1].width', 'expected a number, found null'),
        (coco_image(6, 'gone.jpg'), 'images[1]', "no such file: 'gone.jpg'"),
        (coco_image(6, '../a.jpg'), 'images[1]', 'expected a name inside'),
        (coco_image(6, '/etc/passwd'), 'images[1]', 'expected a name inside'),
        (coco_image(6, './a.jpg'), 'images[1]', "'./a.jpg' is listed in images[0] already"),
    ],
)
def test_a_bad_image_is_dropped_and_the_others_stay(tmp_path: pathlib.Path, image: Any, element: str, reason: str) -> None:
    add_image(tmp_path, 'a.jpg')
    add_image(tmp_path, 'b.jpg')
    (found,), (bad,) = read(write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg'), image], [coco_object(1, 5)]))
    assert (found.image_id, bad.file, bad.element) == ('a', str(tmp_path / 'a.json'), element)
    assert bad.reason.startswith(reason)


def test_annotations_of_a_bad_image_are_not_counted_twice(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    images = [coco_image(5, 'a.jpg'), coco_image(6, 'b.jpg', file_name=None)]
    _, bad = read(write_coco(tmp_path / 'a.json', images, [coco_object(1, 6)]))
    assert [item.element for item in bad] == ['images[1].file_name']


def test_a_broken_image_is_named_by_its_file(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.jpg')
    (tmp_path / 'b.jpg').write_bytes((tmp_path / 'a.jpg').read_bytes()[:-300])
    _, (bad,) = read(write_coco(tmp_path / 'a.json', [coco_image(5, 'a.jpg'), coco_image(6, 'b.jpg')], []))
    assert bad.file == str(tmp_path / 'b.jpg')
    assert bad.reason.startswith('the image data is broken')


@pytest.mark.parametrize(
    ('annotations', 'images'),
    [
        ('instances_val.json', '.'),
        ('annotations/instances_val.json', 'val'),
        ('annotations/instances_val.json', 'images'),
        ('annotations/instances_val.json', 'images/val'),
        ('val/_annotations.coco.json', 'val'),
    ],
)
def test_the_image_folder_is_found_although_an_image_is_missing(tmp_path: pathlib.Path, annotations: str, images: str) -> None:
    add_image(tmp_path / images, 'a.jpg')
    file = write_coco(tmp_path / annotations, [coco_image(1, 'gone.jpg'), coco_image(2, 'a.jpg')], [])
    assert [found.image_id for found in read(file)[0]] == ['a']


def test_the_image_folder_may_be_given(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'elsewhere', 'x/a.jpg')
    file = write_coco(tmp_path / 'a.json', [coco_image(1, 'x/a.jpg')], [])
    assert [found.image_id for found in read(file, images=str(tmp_path / 'elsewhere'))[0]] == ['x/a']


def test_a_missing_image_folder_is_named(tmp_path: pathlib.Path) -> None:
    file = write_coco(tmp_path / 'a.json', [coco_image(1, 'a.jpg')], [])
    with pytest.raises(DataError, match="gone: no such folder; expected the images of .*a.json: set 'images'"):
        read(file, images=str(tmp_path / 'gone'))


def test_a_data_set_without_a_usable_image_is_read_with_its_faults(tmp_path: pathlib.Path) -> None:
    examples, (bad,) = read(write_coco(tmp_path / 'a.json', [coco_image(1, 'a.jpg')], []))
    assert (examples, bad.element, bad.reason) == ([], 'images[0]', "no such file: 'a.jpg'")


def tool(folder: pathlib.Path, *images: str) -> tuple[list[Example], list[BadItem]]:
    """Reads what a tool wrote, recognised by `format: auto`."""
    for name in images:
        add_image(folder, name)
    source = schema.DataSource(format='auto', path=str(folder))
    assert recognise.class_names(source) == ('cat', 'dog')
    return recognise.read(source, CLASSES, 10**6)


def written(file: pathlib.Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def test_roboflows_project_above_the_categories_is_no_class(tmp_path: pathlib.Path) -> None:
    categories = [{'id': 0, 'name': 'pets', 'supercategory': 'none'}, {'id': 1, 'name': 'cat', 'supercategory': 'pets'}]
    categories.append({'id': 2, 'name': 'dog', 'supercategory': 'pets'})
    image = {'id': 0, 'license': 1, 'file_name': 'a_jpg.rf.0f.jpg', 'height': 40, 'width': 60, 'date_captured': '2024'}
    annotation = {'id': 0, 'image_id': 0, 'category_id': 2, 'bbox': [1, 2, 3.5, 4], 'area': 14, 'segmentation': [], 'iscrowd': 0}
    content = {'info': {}, 'licenses': [], 'categories': categories, 'images': [image], 'annotations': [annotation]}
    written(tmp_path / '_annotations.coco.json', content)
    (found,), bad = tool(tmp_path, 'a_jpg.rf.0f.jpg')
    assert (found.classes.tolist(), found.boxes_yxyx_px.tolist(), bad) == ([2], [[2, 1, 6, 4.5]], [])


def test_a_project_called_as_its_only_class_is_that_class(tmp_path: pathlib.Path) -> None:
    categories = [{'id': 0, 'name': 'cat', 'supercategory': 'none'}, {'id': 1, 'name': 'cat', 'supercategory': 'cat'}]
    file = tmp_path / 'a.json'
    add_image(tmp_path, 'a.jpg')
    content = {'images': [coco_image(5, 'a.jpg')], 'categories': categories, 'annotations': [coco_object(1, 5, category=1)]}
    written(file, content)
    assert coco.class_names(schema.DataSource(format='coco', path=str(file))) == ('cat',)
    (found,), bad = read(file)
    assert (found.classes.tolist(), bad) == ([1], [])
    both = [coco_object(1, 5, category=1), coco_object(2, 5, category=0)]
    written(file, content | {'annotations': both})
    with pytest.raises(DataError, match="id 1 or name 'cat' is given twice"):
        read(file)


def test_cvats_folders_are_found(tmp_path: pathlib.Path) -> None:
    image = {'id': 1, 'width': 60, 'height': 40, 'file_name': 'x/a.jpg', 'license': 0, 'flickr_url': '', 'date_captured': 0}
    attributes = {'occluded': False, 'rotation': 0.0}
    annotation = {'id': 1, 'image_id': 1, 'category_id': 1, 'segmentation': [], 'area': 12.0, 'bbox': [1.0, 2.0, 3.0, 4.0]}
    categories = [{'id': 1, 'name': 'cat', 'supercategory': ''}, {'id': 2, 'name': 'dog', 'supercategory': ''}]
    content = {
        'categories': categories,
        'images': [image],
        'annotations': [annotation | {'iscrowd': 0, 'attributes': attributes}],
    }
    written(tmp_path / 'annotations' / 'instances_default.json', content)
    for folder in ('images', 'images/default'):
        (found,), bad = tool(tmp_path, f'{folder}/x/a.jpg')
        assert (found.image_id, found.path, bad) == ('x/a', str(tmp_path / folder / 'x' / 'a.jpg'), [])
        (tmp_path / folder / 'x' / 'a.jpg').unlink()


def test_label_studios_result_is_read(tmp_path: pathlib.Path) -> None:
    images = [{'width': 60, 'height': 40, 'id': 0, 'file_name': 'images\\5f-a.jpg'}]
    annotation = {'id': 0, 'image_id': 0, 'category_id': 1, 'segmentation': [], 'bbox': [1.0, 2.0, 3.0, 4.0], 'ignore': 0}
    categories = [{'id': 0, 'name': 'cat'}, {'id': 1, 'name': 'dog'}]
    content = {'images': images, 'categories': categories, 'annotations': [annotation | {'iscrowd': 0, 'area': 12}], 'info': {}}
    written(tmp_path / 'result.json', content)
    (found,), bad = tool(tmp_path, 'images/5f-a.jpg')
    assert (found.image_id, found.classes.tolist(), bad) == ('images/5f-a', [2], [])


def test_vias_ids_as_text_are_the_numbers(tmp_path: pathlib.Path) -> None:
    image = {'id': 0, 'width': 60, 'height': 40, 'file_name': 'a.jpg', 'license': 1, 'date_captured': ''}
    box = {'id': 0, 'image_id': '0', 'category_id': '2', 'bbox': [1, 2, 3, 4], 'segmentation': [1, 2, 4, 2, 4, 6, 1, 6]}
    categories = [{'id': '1', 'name': 'cat', 'supercategory': 'type'}, {'id': 2.0, 'name': 'dog', 'supercategory': 'type'}]
    content = {'images': [image], 'annotations': [box | {'area': 12, 'iscrowd': 0}], 'categories': categories, 'licenses': []}
    written(tmp_path / 'via_project_coco.json', content)
    (found,), bad = tool(tmp_path, 'a.jpg')
    assert (found.classes.tolist(), found.boxes_yxyx_px.tolist(), bad) == ([2], [[2, 1, 6, 4]], [])


def test_datumaros_folders_are_splits(tmp_path: pathlib.Path) -> None:
    for split in ('train', 'val'):
        add_image(tmp_path / 'images' / split, 'a.jpg')
        content = {'images': [coco_image(1, 'a.jpg')], 'annotations': [coco_object(1, 1, bbox=[])], 'categories': []}
        content['categories'] = [{'id': 3, 'name': 'cat', 'supercategory': ''}, {'id': 7, 'name': 'dog', 'supercategory': ''}]
        content['annotations'][0] |= {'segmentation': [[1.0, 2.0, 4.0, 2.0, 4.0, 6.0]]}
        written(tmp_path / 'annotations' / f'instances_{split}.json', content)
    parts = recognise.parts(schema.DataSource(format='auto', path=str(tmp_path)))
    assert [(part.format, part.split) for part in parts] == [('coco', 'train'), ('coco', 'val')]
    (found,), bad = recognise.read(parts[1], CLASSES, 10**6)
    assert (found.path, found.boxes_yxyx_px.tolist(), bad) == (str(tmp_path / 'images/val/a.jpg'), [[2, 1, 6, 4]], [])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{"images": [', 'expected COCO JSON, but it is not JSON'),
        ('[' * 100_000, 'expected COCO JSON, but it is not JSON'),
        ('[]', 'an object with lists images, annotations, categories; found: list'),
        ('{"images": [], "info": 1}', 'found: images, info'),
        ('{"images": [], "annotations": [], "categories": [1]}', r'categories\[0\]: found 1; expected an id'),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', r'categories\[0\]: found .*expected an id'),
    ],
)
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: pathlib.Path, content: str, message: str) -> None:
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / 'a.json')


@pytest.mark.parametrize('second', [{'id': 1, 'name': 'dog'}, {'id': 2, 'name': 'cat'}])
def test_a_category_given_twice_is_refused(tmp_path: pathlib.Path, second: dict[str, Any]) -> None:
    file = write_coco(tmp_path / 'a.json', [], [], {1: 'cat'})
    file.write_text(file.read_text().replace('"name": "cat"}', f'"name": "cat"}}, {str(second)}'.replace("'", '"')))
    with pytest.raises(DataError, match=r'categories\[1\]: id . or name .* is given twice'):
        read(file)


def test_a_split_of_a_folder_is_found(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path / 'train', 'a.jpg')
    write_coco(tmp_path / 'annotations' / 'instances_train.json', [coco_image(1, 'a.jpg')], [])
    write_coco(tmp_path / 'annotations' / 'instances_val.json', [], [])
    assert len(read(tmp_path, split='train')[0]) == 1
    with pytest.raises(
        DataError, match='expected one JSON file, or the name of a split; JSON files here: .*instances_train.json'
    ):
        read(tmp_path)


def test_a_missing_file_names_the_nearest(tmp_path: pathlib.Path) -> None:
    write_coco(tmp_path / 'train.json', [], [])
    with pytest.raises(DataError, match=r"trian.json: no such file; expected a COCO JSON. Did you mean 'train.json'\?"):
        read(tmp_path / 'trian.json')


def test_a_hundred_thousand_annotations_are_read(tmp_path: pathlib.Path) -> None:
    add_image(tmp_path, 'a.png')
    for number in range(200):
        (tmp_path / f'{number}.png').hardlink_to(tmp_path / 'a.png')
    polygon = [[float(value) for value in range(20)]]
    annotations = [coco_object(n, n % 200, [n % 40, 1, 10.25, 20], 3, segmentation=polygon) for n in range(100_000)]
    file = write_coco(tmp_path / 'a.json', [coco_image(number, f'{number}.png') for number in range(200)], annotations)
    examples, bad = read(file)
    assert (len(examples), sum(len(found.classes) for found in examples), bad) == (200, 100_000, [])
    np.testing.assert_array_equal(examples[7].boxes_yxyx_px[0], np.float32([1, 7, 21, 17.25]))
