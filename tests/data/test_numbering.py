"""Ids of COCO JSON: detections load with pycocotools against the user's own annotation file."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stagetrain.config import schema
from stagetrain.data import coco, numbering
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.data.numbering import Numbering
from stagetrain.errors import DataError
from stagetrain.evaluation.metrics import Detections, detection_metrics

CONTENT = {
    'images': [{'id': 139, 'file_name': 'b.jpg'}, {'id': 7, 'file_name': 'sub/a.jpg'}, {'id': 20, 'file_name': 'c.jpg'}],
    'categories': [{'id': 90, 'name': 'dog'}, {'id': 0, 'name': 'cat'}],
    'annotations': [
        {'id': 1, 'image_id': 139, 'category_id': 90, 'bbox': [10, 20, 40, 30], 'area': 1200, 'iscrowd': 0},
        {'id': 2, 'image_id': 7, 'category_id': 0, 'bbox': [5, 5, 50, 50], 'area': 2500, 'iscrowd': 0},
    ],
}
CLASSES = ('cat', 'dog')


@pytest.fixture
def source(tmp_path: pathlib.Path) -> schema.DataSource:
    """COCO JSON whose ids have holes, with three images."""
    for image in CONTENT['images']:
        path = tmp_path / 'images' / str(image['file_name'])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', (100, 80)).save(path)
    (tmp_path / 'val.json').write_text(json.dumps(CONTENT))
    return schema.DataSource(format='auto', path=str(tmp_path / 'val.json'), images=str(tmp_path / 'images'))


def dataset(source: schema.DataSource) -> Dataset:
    data = {'classes': list(CLASSES), 'train': source, 'validation': source}
    return load_dataset(source, schema.Data.model_validate(data), 'validation', None)


def perfect(truth: Dataset) -> Detections:
    """Every object is found where it is."""
    index = [number for number, one in enumerate(truth.examples) for _ in one.classes]
    boxes = np.concatenate([one.boxes_yxyx_px for one in truth.examples])
    classes = np.concatenate([one.classes for one in truth.examples])
    return Detections(np.array(index, np.int32), boxes, np.full(len(index), 0.9, np.float32), classes)


def average_precision(truth: COCO, records: list[dict[str, Any]]) -> float:
    evaluation = COCOeval(truth, truth.loadRes(records), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return float(evaluation.stats[0])


def test_detections_load_against_the_users_file_with_its_ids_of_images_and_categories(source: schema.DataSource) -> None:
    truth = dataset(source)
    found = perfect(truth)
    assert detection_metrics(truth, found)['AP'] == pytest.approx(1.0)
    records = found.to_coco(truth, numbering.of_dataset(source, truth))
    assert [(record['image_id'], record['category_id']) for record in records] == [(139, 90), (7, 0)]
    assert average_precision(COCO(source.path), records) == pytest.approx(1.0)


def test_images_json_is_a_truth_without_annotations(source: schema.DataSource, tmp_path: pathlib.Path) -> None:
    truth = dataset(source)
    skeleton = numbering.of_dataset(source, truth).skeleton(truth)
    (tmp_path / 'images.json').write_text(json.dumps(skeleton))
    loaded = COCO(str(tmp_path / 'images.json'))
    assert sorted(loaded.getImgIds()) == [7, 20, 139]
    assert loaded.loadImgs([7])[0] == {'id': 7, 'file_name': 'sub/a.jpg', 'height': 80, 'width': 100, 'source': 'sub/a'}
    assert loaded.cats == {0: {'id': 0, 'name': 'cat'}, 90: {'id': 90, 'name': 'dog'}}
    assert len(loaded.loadRes(perfect(truth).to_coco(truth, numbering.of_dataset(source, truth))).anns) == 2


def test_a_data_set_of_another_format_is_counted_from_one(source: schema.DataSource, tmp_path: pathlib.Path) -> None:
    truth = dataset(source)
    voc = schema.DataSource(format='voc', path=str(tmp_path))
    assert numbering.of_dataset(voc, truth) == Numbering((1, 2, 3), ('b.jpg', 'c.jpg', 'sub/a.jpg'), (1, 2))


def test_detections_are_not_lost_with_the_annotation_file(source: schema.DataSource) -> None:
    truth = dataset(source)
    pathlib.Path(source.path).unlink()
    assert numbering.of_dataset(source, truth).image_ids == (1, 2, 3)


def test_images_that_are_not_listed_get_ids_beyond_the_largest(source: schema.DataSource, tmp_path: pathlib.Path) -> None:
    paths = [str(tmp_path / 'x.jpg'), f'{source.images}/c.jpg', str(tmp_path / 'c.jpg')]
    found = numbering.of_places(source, paths, ['x.jpg', 'images/c.jpg', 'c.jpg'], CLASSES)
    assert found == Numbering((140, 20, 141), ('x.jpg', 'c.jpg', 'c.jpg'), (0, 90))
    assert numbering.of_places(source, paths[:1], ['x.jpg'], CLASSES) is None
    assert numbering.of_places(source, paths, ['', '', ''], ('cat', 'cow')) is None


def test_a_linked_image_is_the_one_that_it_leads_to(source: schema.DataSource, tmp_path: pathlib.Path) -> None:
    (tmp_path / 'link.jpg').symlink_to(tmp_path / 'images' / 'c.jpg')
    found = numbering.of_places(source, [str(tmp_path / 'link.jpg')], ['link.jpg'], CLASSES)
    assert found is not None and found.image_ids == (20,)


def test_entries_are_found_by_the_longest_end_of_a_path(source: schema.DataSource) -> None:
    listed = coco.identities(source)
    assert numbering.matches_by_name(listed, ['/x/sub/a.jpg', '/x/a.jpg', 'b.jpg', '/y/c.jpg']) == [
        (7, 'sub/a.jpg'),
        None,
        (139, 'b.jpg'),
        (20, 'c.jpg'),
    ]


def test_a_file_without_annotations_tells_ids_too(source: schema.DataSource) -> None:
    path = pathlib.Path(source.path)
    path.write_text(json.dumps({key: value for key, value in CONTENT.items() if key != 'annotations'}))
    assert [number for number, _ in coco.identities(source).images] == [139, 7, 20]
    with pytest.raises(DataError, match='expected COCO JSON, an object with lists images, categories'):
        path.write_text('{}')
        coco.identities(source)


@pytest.mark.parametrize(
    'skeleton', [[], {}, {'images': [{}], 'categories': []}, {'images': [], 'categories': [{'id': 1, 'name': 'cow'}]}]
)
def test_a_skeleton_that_is_none_is_refused(source: schema.DataSource, skeleton: Any) -> None:
    with pytest.raises(DataError, match=r'images.json: .*; expected images and categories as stagetrain wrote them'):
        numbering.places_in(skeleton, dataset(source))
