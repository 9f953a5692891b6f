"""COCO metrics and proposal recall: literal cases, and equality with pycocotools and the Model Garden."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from stagetrain.data.numbering import Numbering
from stagetrain.errors import DataError
from stagetrain.evaluation import metrics
from stagetrain.evaluation.metrics import Detections


def detections(*rows: tuple[int, list[float], float, int]) -> Detections:
    """Detections of (image, box, score, class)."""
    return Detections(
        np.array([row[0] for row in rows], np.int32),
        np.array([row[1] for row in rows], np.float32).reshape(-1, 4),
        np.array([row[2] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int32),
    )


def random_case(make_dataset, seed, num_images=12):
    """Crowded true boxes on a coarse grid (many equal overlaps) and detections near them."""
    rng = np.random.default_rng(seed)
    boxes, classes, rows = [], [], []
    for image in range(num_images):
        num_objects = int(rng.integers(0, 9))
        corner = rng.integers(0, 12, [num_objects, 2]) * 8
        truth = np.concatenate([corner, corner + rng.integers(1, 16, [num_objects, 2]) * 8], axis=1)
        boxes.append(truth.tolist())
        classes.append(rng.integers(1, 3, num_objects).tolist())
        for _ in range(40):
            base = truth[rng.integers(num_objects)] if num_objects else np.array([0, 0, 40, 40])
            box = base + rng.integers(-1, 2, 4) * 4
            rows.append((image, [*box[:2], *np.maximum(box[2:], box[:2] + 1)], rng.random(), int(rng.integers(1, 3))))
    ignored = [(image, 0) for image in range(0, num_images, 3) if classes[image]]
    return make_dataset(boxes, classes, ignored), detections(*rows)


def test_perfect_detections_have_ap_1(make_dataset):
    dataset = make_dataset([[[0, 0, 20, 20]], [[10, 10, 60, 60]]], [[1], [2]])
    found = detections((0, [0, 0, 20, 20], 0.9, 1), (1, [10, 10, 60, 60], 0.8, 2))
    result = metrics.detection_metrics(dataset, found)
    assert {name: result[name] for name in ('AP', 'AP50', 'AR1', 'AR100', 'APs', 'APm', 'AP/cell', 'AP/plate')} == pytest.approx(
        {'AP': 1.0, 'AP50': 1.0, 'AR1': 1.0, 'AR100': 1.0, 'APs': 1.0, 'APm': 1.0, 'AP/cell': 1.0, 'AP/plate': 1.0}
    )
    assert result['APl'] is None


def test_loose_box_counts_at_low_thresholds_only(make_dataset):
    dataset = make_dataset([[[0, 0, 100, 100]]], [[1]], names=('cell',))
    result = metrics.detection_metrics(dataset, detections((0, [0, 0, 100, 72], 0.9, 1)))  # IoU 0.72: 5 of 10 thresholds.
    assert result['AP'] == pytest.approx(0.5)
    assert result['AP50'] == pytest.approx(1.0)
    assert result['AP75'] == pytest.approx(0.0)


def test_no_detection_is_zero_and_a_class_without_objects_is_none(make_dataset):
    result = metrics.detection_metrics(make_dataset([[[0, 0, 20, 20]]], [[1]]), detections())
    assert result['AP'] == 0.0
    assert result['AP/cell'] == 0.0
    assert result['AP/plate'] is None


def test_difficult_object_is_neither_right_nor_wrong(make_dataset):
    dataset = make_dataset([[[0, 0, 20, 20], [100, 100, 200, 200]]], [[1, 1]], ignored=[(0, 1)], names=('cell',))
    found = (0, [0, 0, 20, 20], 0.5, 1)
    on_difficult = (0, [100, 100, 200, 200], 0.9, 1)
    assert metrics.detection_metrics(dataset, detections(found))['AP'] == pytest.approx(1.0)
    assert metrics.detection_metrics(dataset, detections(found, on_difficult))['AP'] == pytest.approx(1.0)


def test_evaluation_prints_nothing(make_dataset, capsys):
    metrics.detection_metrics(make_dataset([[[0, 0, 20, 20]]], [[1]]), detections())
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_non_finite_values_are_refused_with_the_image(make_dataset, value):
    good = make_dataset([[[0, 0, 9, 9]], [[0, 0, 9, 9]]], [[1], [1]])
    broken = make_dataset([[[0, 0, 9, 9]], [[0, 0, value, 9]]], [[1], [1]])
    with pytest.raises(DataError, match='true box of image img1'):
        metrics.detection_metrics(broken, detections())
    with pytest.raises(DataError, match='true box of image img1'):
        metrics.proposal_recall(broken, [np.zeros([0, 4], np.float32)] * 2)
    with pytest.raises(DataError, match='detection .* of image img1'):
        metrics.detection_metrics(good, detections((1, [0, 0, value, 9], 0.5, 1)))
    with pytest.raises(DataError, match='detection .* of image img0'):
        metrics.detection_metrics(good, detections((0, [0, 0, 9, 9], value, 1)))
    with pytest.raises(DataError, match='proposal of image img1'):
        metrics.proposal_recall(good, [np.zeros([1, 4], np.float32), np.array([[0, 0, value, 9]], np.float32)])


def test_coco_records_hold_xywh_and_read_back(make_dataset):
    dataset = make_dataset([[], []], [[], []])
    found = detections((1, [10, 20, 40, 60], 0.5, 2), (0, [1, 2, 3, 4], 0.25, 1))
    ids = Numbering((70, 3), ('0.jpg', '1.jpg'), (5, 1))
    records = found.to_coco(dataset, ids)
    assert records[0] == {'image_id': 3, 'category_id': 1, 'bbox': [20.0, 10.0, 40.0, 30.0], 'score': 0.5}
    again = Detections.from_coco(records, dataset, ids.skeleton(dataset))
    assert again.image_index.tolist() == [1, 0]
    np.testing.assert_array_equal(again.boxes_yxyx_px, found.boxes_yxyx_px)
    np.testing.assert_array_equal(again.scores, found.scores)
    np.testing.assert_array_equal(again.classes, found.classes)


def test_records_of_older_runs_name_images_and_classes_as_the_data_set_does(make_dataset):
    record = {'image_id': 'img1', 'category_id': 2, 'bbox': [20.0, 10.0, 40.0, 30.0], 'score': 0.5}
    found = Detections.from_coco([record], make_dataset([[], []], [[], []]))
    assert (found.image_index.tolist(), found.classes.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'image_id': [1]}, r'detections\[0\]: TypeError'),
        ({'category_id': 9}, r'category_id: found 9, expected one of \[1, 2\]'),
        ({'image_id': 'img7'}, "image_id: found 'img7'.*Did you mean 'img0'"),
        ({'bbox': [1, 2, 3]}, 'bbox: found 3 numbers, expected 4'),
        ({'bbox': 5}, r'detections\[0\]: TypeError'),
        ({'score': 'high'}, r'detections\[0\]: ValueError'),
    ],
)
def test_bad_coco_record_is_refused(make_dataset, change, message):
    record = {'image_id': 'img0', 'category_id': 1, 'bbox': [0, 0, 1, 1], 'score': 0.5, **change}
    with pytest.raises(DataError, match=message):
        Detections.from_coco([record], make_dataset([[]], [[]]))


def test_iou_of_known_boxes():
    boxes = np.array([[0, 0, 10, 10], [0, 5, 10, 15], [20, 20, 20, 20]], np.float32)
    expected = [[1.0, 1 / 3, 0.0], [1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]]
    np.testing.assert_allclose(metrics.box_iou(boxes, boxes), expected)


def test_recall_counts_only_the_first_proposals(make_dataset):
    dataset = make_dataset([[[0, 0, 10, 10], [50, 50, 60, 60]]], [[1, 2]])
    proposals = [np.array([[0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 57]], np.float32)]  # The last: IoU 0.7.
    result = metrics.proposal_recall(dataset, proposals, counts=(1, 3))
    assert result == pytest.approx(
        {'recall_0.5@1': 0.5, 'AR@1': 0.5, 'recall_0.5@3': 1.0, 'AR@3': 0.75, 'recall_0.5': 1.0}, abs=1e-12
    )


def test_recall_without_objects_is_none(make_dataset):
    result = metrics.proposal_recall(make_dataset([[]], [[]]), [np.zeros([0, 4], np.float32)], counts=(100,))
    assert result == {'recall_0.5@100': None, 'AR@100': None, 'recall_0.5': None}


def test_images_are_matched_in_portions(make_dataset):
    dataset = make_dataset([[[0, 0, 10, 10]]] * 65, [[1]] * 65)
    proposals = [np.array([[0, 0, 10, 10]], np.float32)] * 64 + [np.zeros([0, 4], np.float32)]
    assert metrics.proposal_recall(dataset, proposals, counts=(1,))['recall_0.5'] == pytest.approx(64 / 65)


@pytest.mark.parametrize('seed', range(5))
def test_recall_equals_pycocotools(make_dataset, seed):
    dataset, found = random_case(make_dataset, seed)
    order = np.argsort(-found.scores, kind='mergesort')
    proposals = [found.boxes_yxyx_px[order][found.image_index[order] == image] for image in range(len(dataset.examples))]
    result = metrics.proposal_recall(dataset, proposals, counts=(3, 10, 30))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(*coco_pair(dataset, found), 'bbox')
        evaluator.params.useCats = 0
        evaluator.params.maxDets = [3, 10, 30]
        evaluator.evaluate()
        evaluator.accumulate()
    recall = evaluator.eval['recall'][:, 0, 0, :]
    for column, count in enumerate((3, 10, 30)):
        assert result[f'AR@{count}'] == pytest.approx(recall[:, column].mean(), abs=1e-12)
        assert result[f'recall_0.5@{count}'] == pytest.approx(recall[0, column], abs=1e-12)


@pytest.mark.parametrize('seed', range(3))
def test_metrics_equal_pycocotools_own_loading(make_dataset, seed):
    dataset, found = random_case(make_dataset, seed)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(*coco_pair(dataset, found), 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    result = metrics.detection_metrics(dataset, found)
    for name, value in zip(metrics.COCO_METRICS, evaluator.stats, strict=True):
        assert (-1.0 if result[name] is None else result[name]) == pytest.approx(value, abs=1e-12)
    assert 0.05 < result['AP'] < 0.95


def coco_pair(dataset, found):
    """The truth and the results as pycocotools loads them from COCO files."""
    truth = COCO()
    truth.dataset = {'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]}
    for example in dataset.examples:
        truth.dataset['images'].append({'id': example.image_id})
        for (ymin, xmin, ymax, xmax), category, difficult in zip(
            example.boxes_yxyx_px.tolist(), example.classes.tolist(), example.difficult.tolist(), strict=True
        ):
            truth.dataset['annotations'].append(
                {
                    'id': len(truth.dataset['annotations']) + 1,
                    'image_id': example.image_id,
                    'category_id': category,
                    'bbox': [xmin, ymin, xmax - xmin, ymax - ymin],
                    'area': (xmax - xmin) * (ymax - ymin),
                    'iscrowd': int(difficult),
                }
            )
    truth.createIndex()
    ids = Numbering(tuple(example.image_id for example in dataset.examples), ('',) * len(dataset.examples), (1, 2))
    return truth, truth.loadRes(found.to_coco(dataset, ids))


@pytest.mark.slow
def test_metrics_equal_the_model_gardens_evaluator(make_dataset):
    tf = pytest.importorskip('tensorflow')
    from official.vision.evaluation import coco_evaluator

    dataset, found = random_case(make_dataset, seed=11)
    evaluator = coco_evaluator.COCOEvaluator(annotation_file=None, include_mask=False, need_rescale_bboxes=False)
    for image, example in enumerate(dataset.examples):
        rows = found.image_index == image
        truth = {
            'source_id': [image],
            'height': [example.height],
            'width': [example.width],
            'num_detections': [len(example.classes)],
            'boxes': example.boxes_yxyx_px[None],
            'classes': example.classes[None],
            'is_crowds': example.difficult[None].astype(np.int32),
        }
        results = {
            'source_id': [image],
            'num_detections': [int(rows.sum())],
            'detection_boxes': found.boxes_yxyx_px[rows][None],
            'detection_classes': found.classes[rows][None],
            'detection_scores': found.scores[rows][None],
        }
        evaluator.update_state(
            {key: tf.constant(value) for key, value in truth.items()}, {key: tf.constant(value) for key, value in results.items()}
        )
    theirs = {name.replace('max', ''): value for name, value in evaluator.result().items()}
    ours = metrics.detection_metrics(dataset, found)
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-6)
