"""Which objects can be learned or measured, and that a training set without one is refused with the counts."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from stagetrain.config import schema
from stagetrain.data import index, objects
from stagetrain.data.annotation import Dataset
from stagetrain.errors import DataError
from tests.data.listed_folder import add_image, coco_image, coco_object, write_coco

if TYPE_CHECKING:
    from tests.data.conftest import VocFolder


def coco(folder: pathlib.Path, *annotations: dict[str, Any]) -> schema.DataSource:
    add_image(folder, 'a.jpg')
    return schema.DataSource(format='coco', path=str(write_coco(folder / 'a.json', [coco_image(1, 'a.jpg')], annotations)))


def load(source: schema.DataSource, name: str = 'train', **changes: Any) -> Dataset:
    values = {'classes': ['cat', 'dog'], 'train': source, 'validation': source}
    return index.load_dataset(source, schema.Data.model_validate(values | changes), name, None)


def test_each_object_is_counted_once_under_its_first_reason(voc_folder: VocFolder) -> None:
    kinds = voc_folder.box(1, 1, 9, 9), voc_folder.box(1, 1, 1.5, 1.5), voc_folder.box(2, 2, 9, 9, 'dog', difficult=1)
    dataset = load(voc_folder.add('a', ''.join(kinds) + voc_folder.box(1, 1, 5, 5, 'cow')).source(), ignore_classes=['cow'])
    found = objects.to_learn(dataset, include_difficult=False)
    assert (found.num_images, found.by_class, found.num_usable, found.num_objects) == (1, {'cat': 1, 'dog': 0}, 1, 4)
    assert str(found) == "4 objects: 1 usable, 1 difficult, 1 no larger than a pixel, 1 of the ignored class 'cow'"
    assert objects.to_learn(dataset, include_difficult=True).by_class == {'cat': 1, 'dog': 1}
    assert objects.to_measure(dataset) == found


def test_a_training_set_of_crowds_is_refused_with_the_count(tmp_path: pathlib.Path) -> None:
    source = coco(tmp_path, coco_object(1, 1, iscrowd=1), coco_object(2, 1, iscrowd=1))
    with pytest.raises(DataError, match='1 images, but nothing to learn in them: 2 objects: 2 crowds\n.*mark single objects'):
        load(source)
    assert load(source, 'validation').num_boxes == 2


def test_a_training_set_of_difficult_objects_is_refused_unless_they_are_included(voc_folder: VocFolder) -> None:
    source = voc_folder.add('a', voc_folder.box(1, 1, 9, 9, difficult=1)).source()
    with pytest.raises(DataError, match='nothing to learn .*: 1 objects: 1 difficult\n.*include_difficult: true'):
        load(source)
    assert load(source.model_copy(update={'include_difficult': True})).num_boxes == 1


def test_boxes_within_one_pixel_are_nothing_to_learn(tmp_path: pathlib.Path) -> None:
    source = coco(tmp_path, coco_object(1, 1, bbox=[0.2, 0.1, 0.3, 0.4]), coco_object(2, 1, bbox=[0, 0, 1, 1]))
    with pytest.raises(DataError, match='2 no larger than a pixel\nAre their coordinates from 0 to 1'):
        load(source)


def test_kinds_that_together_leave_nothing_are_each_counted(tmp_path: pathlib.Path) -> None:
    source = coco(tmp_path, coco_object(1, 1, iscrowd=1), coco_object(2, 1, difficult=1), coco_object(3, 1, bbox=[1, 1, 0.5, 1]))
    with pytest.raises(DataError, match='3 objects: 1 crowds, 1 difficult, 1 no larger than a pixel'):
        load(source)


def test_ignored_classes_that_hold_every_object_are_told(tmp_path: pathlib.Path) -> None:
    source = coco(tmp_path, coco_object(1, 1), coco_object(2, 1))
    expected = "not one usable object in them; expected objects of dog; found 2 objects: 2 of the ignored class 'cat'"
    with pytest.raises(DataError, match=expected):
        load(source, classes=['dog'], ignore_classes=['cat'])


def test_counts_come_back_from_the_cache(tmp_path: pathlib.Path) -> None:
    source = coco(tmp_path / 'd', coco_object(1, 1), coco_object(2, 1, category=7))
    data = schema.Data(classes=['dog'], ignore_classes=['cat'], train=source, validation=source)
    from tests.data.conftest import age

    age(tmp_path / 'd')
    cold, warm = (index.load_dataset(source, data, 'train', tmp_path / 'cache') for _ in range(2))
    assert len(list((tmp_path / 'cache').iterdir())) == 1
    assert json.dumps(warm.ignored) == json.dumps(cold.ignored) == '{"cat": 1}'
