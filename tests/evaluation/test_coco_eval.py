"""COCO's evaluation on arrays gives pycocotools' own numbers, to the bit."""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stagetrain.evaluation.coco_eval import ArrayEvaluation


def coco(annotations: list[dict[str, Any]], num_images: int) -> COCO:
    """Returns pycocotools' object of annotations with three classes, of which the last has none."""
    one = COCO()
    one.dataset = {
        'images': [{'id': image} for image in range(num_images)],
        'categories': [{'id': 1}, {'id': 2}, {'id': 3}],
        'annotations': [{'id': number, **annotation} for number, annotation in enumerate(annotations, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        one.createIndex()
    return one


def annotation(rng: np.random.Generator, image: int, box: np.ndarray, **keys: Any) -> dict[str, Any]:
    """Returns an annotation of a random class; `box` is x, y, width, height."""
    return {'image_id': image, 'category_id': int(rng.integers(1, 3)), 'bbox': box.tolist(), 'area': box[2] * box[3], **keys}


def random_case(seed: int, num_images: int) -> tuple[COCO, COCO]:
    """Returns boxes on a coarse grid, of all sizes, some of them crowds, and detections of few scores: many ties."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(num_images):
        corners = rng.integers(0, 8, [int(rng.integers(0, 9)), 2]) * 8
        boxes = np.concatenate([corners, rng.integers(1, 14, corners.shape) * 9], axis=1).astype(float)
        truth += [annotation(rng, image, box, iscrowd=int(rng.random() < 0.2)) for box in boxes]
        for _ in range(int(rng.integers(0, 40)) if image % 5 else 0):
            near = boxes[rng.integers(len(boxes))] if len(boxes) else np.array([0.0, 0, 30, 30])
            box = np.maximum(near + rng.integers(-1, 2, 4) * 3, 1)
            found.append(annotation(rng, image, box, iscrowd=0, score=float(rng.integers(0, 9)) / 8))
    return coco(truth, num_images), coco(found, num_images)


def evaluated(kind: type[COCOeval], pair: tuple[COCO, COCO], most: list[int]) -> COCOeval:
    """Returns a finished evaluation with at most so many detections of a class and image."""
    evaluation = kind(*copy.deepcopy(pair), 'bbox')
    evaluation.params.maxDets = most
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@pytest.mark.parametrize(('seed', 'num_images'), [(0, 1), (1, 12), (2, 66)])
@pytest.mark.parametrize('most', [[1, 10, 100], [2, 5, 9]])
def test_precision_and_recall_equal_pycocotools_to_the_bit(seed: int, num_images: int, most: list[int]) -> None:
    pair = random_case(seed, num_images)
    expected, found = evaluated(COCOeval, pair, most), evaluated(ArrayEvaluation, pair, most)
    for name in ('precision', 'recall'):
        np.testing.assert_array_equal(found.eval[name], expected.eval[name])
    np.testing.assert_array_equal(found.stats, expected.stats)
    assert (expected.eval['precision'][..., 2, :, :] == -1).all()  # A class without objects.
    if num_images > 1:
        assert 0.05 < expected.eval['precision'][:, :, :2, 0, 2].mean() < 0.9


def test_nothing_found_and_nothing_there() -> None:
    rng = np.random.default_rng(0)
    one = coco([annotation(rng, 0, np.array([0.0, 0, 9, 9]), iscrowd=0)], 2)
    for pair in ((one, coco([], 2)), (coco([], 2), coco([], 2))):
        expected, found = evaluated(COCOeval, pair, [1, 10, 100]), evaluated(ArrayEvaluation, pair, [1, 10, 100])
        np.testing.assert_array_equal(found.eval['precision'], expected.eval['precision'])
        np.testing.assert_array_equal(found.eval['recall'], expected.eval['recall'])


def test_a_class_that_is_detected_where_no_image_has_it() -> None:
    rng = np.random.default_rng(0)
    box = np.array([0.0, 0, 30, 30])
    truth = coco([annotation(rng, 0, box, iscrowd=0)], 2)
    found = coco([{**annotation(rng, image, box, score=0.5), 'category_id': 3} for image in range(2)], 2)
    expected, own = (evaluated(kind, (truth, found), [1, 10, 100]) for kind in (COCOeval, ArrayEvaluation))
    np.testing.assert_array_equal(own.eval['precision'], expected.eval['precision'])
    np.testing.assert_array_equal(own.eval['recall'], expected.eval['recall'])
