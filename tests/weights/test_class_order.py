"""Each class's numbers go with its name."""

from __future__ import annotations

import numpy as np
import pytest

from stagetrain.config import specs
from stagetrain.pipeline import class_lists
from stagetrain.weights import class_order


def test_classes_of_a_dense_layer_are_put_into_order() -> None:
    bias = np.array([0.0, 1.0, 2.0])  # The background, RBC, WBC.
    np.testing.assert_array_equal(class_order.reordered(bias, [0, 2, 1], 3, 1), [0, 2, 1])


def test_four_numbers_of_each_class_stay_together() -> None:
    kernel = np.arange(24.0).reshape(2, 12)
    found = class_order.reordered(kernel, [0, 2, 1], 3, 4)
    np.testing.assert_array_equal(found[0], [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7])
    np.testing.assert_array_equal(found[1], found[0] + 12)


def test_the_classes_of_each_anchor_are_put_into_order() -> None:
    np.testing.assert_array_equal(class_order.reordered(np.arange(6.0), [0, 2, 1], 3, 1), [0, 2, 1, 3, 5, 4])


def test_classes_that_are_not_wanted_are_left_out() -> None:
    np.testing.assert_array_equal(class_order.reordered(np.arange(4.0), [0, 3], 4, 1), [0, 3])


def test_a_layer_for_all_classes_stays_as_it_is() -> None:
    agnostic = np.arange(4.0)
    np.testing.assert_array_equal(class_order.reordered(agnostic, [0, 2, 1], 3, 4), agnostic)


@pytest.mark.parametrize(
    ('detector', 'module', 'name', 'values', 'expected'),
    [
        ('faster_rcnn', 'detection_head', 'detection_head/classifier/bias', [0, 1, 2], [0, 2, 1]),
        ('faster_rcnn', 'detection_head', 'detection_head/1/classifier/bias', [0, 1, 2], [0, 2, 1]),
        ('faster_rcnn', 'detection_head', 'detection_head/fcs/0/bias', [0, 1, 2], [0, 1, 2]),
        ('mask_rcnn', 'mask_head', 'mask_head/mask_regressor/bias', [0, 1, 2], [0, 2, 1]),
        ('faster_rcnn_single_scale', 'detection_head', 'detection_head/cls_score/bias', [0, 1, 2], [0, 2, 1]),
        ('retinanet', 'head', 'head/classifier/bias', [0, 1, 2, 3, 4, 5], [0, 2, 1, 3, 5, 4]),
        ('centernet', 'head', 'head/ct_heatmaps2/conv2/bias', [1, 2], [2, 1]),
    ],
)
def test_every_detector_tells_its_layers(detector: str, module: str, name: str, values: list[int], expected: list[int]) -> None:
    order = class_lists.taking(specs.detector(detector), module, ['RBC', 'WBC'], ['WBC', 'RBC'])
    assert class_order.of_variable(name, np.array(values), order).tolist() == expected
