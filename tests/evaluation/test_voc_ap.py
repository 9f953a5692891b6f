"""Pascal VOC's average precision, against values worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from stagetrain.data.annotation import Dataset
from stagetrain.errors import DataError
from stagetrain.evaluation.metrics import Detections
from stagetrain.evaluation.voc_ap import area_under, eleven_points, voc_average_precision

MakeDataset = Callable[..., Dataset]
A, B, FAR = [0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]


def detections(*rows: tuple[int, Sequence[float], float, int]) -> Detections:
    """Each row is image, box, score, class."""
    images, boxes, scores, classes = zip(*rows, strict=True)
    return Detections(
        np.array(images, np.int32), np.array(boxes, np.float32), np.array(scores, np.float32), np.array(classes, np.int32)
    )


def test_eleven_points_and_area_of_a_curve() -> None:
    precision, recall = np.array([1, 0.5, 2 / 3, 0.5]), np.array([0.5, 0.5, 1, 1])
    assert area_under(precision, recall) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert eleven_points(precision, recall) == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_a_recall_that_is_not_reached_counts_as_zero() -> None:
    precision, recall = np.array([1.0]), np.array([0.3])
    assert area_under(precision, recall) == pytest.approx(0.3)
    assert eleven_points(precision, recall) == pytest.approx(4 / 11)


def test_found_missed_and_wrong(make_dataset: MakeDataset) -> None:
    dataset = make_dataset([[A, B]], [[1, 1]])
    found = voc_average_precision(dataset, detections((0, FAR, 0.9, 1), (0, A, 0.8, 1)))
    assert found['VOC_AP/cell'] == pytest.approx(0.5 * 0.5)
    assert found['VOC_AP11/cell'] == pytest.approx(6 * 0.5 / 11)


def test_means_leave_out_classes_without_objects(make_dataset: MakeDataset) -> None:
    found = voc_average_precision(make_dataset([[A]], [[1]]), detections((0, A, 0.9, 1), (0, B, 0.9, 2)))
    assert (found['VOC_AP'], found['VOC_AP11'], found['VOC_AP/plate']) == (1.0, 1.0, None)


def test_a_second_detection_of_an_object_is_wrong(make_dataset: MakeDataset) -> None:
    """Even where a free object overlaps it enough: the kit looks at the nearest object only."""
    near = [0, 1, 10, 11]
    dataset = make_dataset([[A, near]], [[1, 1]])
    found = voc_average_precision(dataset, detections((0, A, 0.9, 1), (0, [0, 0.1, 10, 10.1], 0.8, 1), (0, near, 0.7, 1)))
    assert found['VOC_AP/cell'] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_difficult_objects_are_neither_found_nor_missed(make_dataset: MakeDataset) -> None:
    dataset = make_dataset([[A, B]], [[1, 1]], ignored=[(0, 1)])
    both = detections((0, B, 0.9, 1), (0, B, 0.85, 1), (0, A, 0.8, 1))
    assert voc_average_precision(dataset, both)['VOC_AP/cell'] == 1.0
    assert voc_average_precision(dataset, detections((0, A, 0.8, 1)))['VOC_AP/cell'] == 1.0


def test_an_overlap_of_exactly_half_is_enough(make_dataset: MakeDataset) -> None:
    dataset = make_dataset([[A]], [[1]])
    assert voc_average_precision(dataset, detections((0, [0, 0, 10, 20], 0.9, 1)))['VOC_AP/cell'] == 1.0
    assert voc_average_precision(dataset, detections((0, [0, 0, 10, 20.1], 0.9, 1)))['VOC_AP/cell'] == 0.0


def test_classes_and_images_do_not_mix(make_dataset: MakeDataset) -> None:
    dataset = make_dataset([[A], [B]], [[1], [2]])
    found = voc_average_precision(dataset, detections((1, A, 0.9, 1), (0, B, 0.9, 2)))
    assert (found['VOC_AP/cell'], found['VOC_AP/plate']) == (0.0, 0.0)


def test_without_detections_and_without_objects(make_dataset: MakeDataset) -> None:
    nothing = Detections(np.zeros(0, np.int32), np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    assert voc_average_precision(make_dataset([[A]], [[1]]), nothing)['VOC_AP'] == 0.0
    assert voc_average_precision(make_dataset([[]], [[]]), nothing)['VOC_AP'] is None


def test_scores_that_are_not_finite_are_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DataError, match='a detection .* of image img0: found .*nan'):
        voc_average_precision(make_dataset([[A]], [[1]]), detections((0, A, float('nan'), 1)))


def test_truth_that_is_not_finite_is_refused(make_dataset: MakeDataset) -> None:
    with pytest.raises(DataError, match='a true box of image img0: found .*nan'):
        voc_average_precision(make_dataset([[[0, 0, float('nan'), 1]]], [[1]]), detections((0, A, 0.9, 1)))
