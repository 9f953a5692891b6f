"""Which objects an evaluation counts."""

from __future__ import annotations

import numpy as np

from stagetrain.data import judged
from stagetrain.data.annotation import Dataset, Example

WIDE = [0, 0, 20, 40]


def dataset(*boxes: list[float], classes: list[int], difficult: list[int] = [], crowds: list[int] = []) -> Dataset:  # noqa: B006
    numbers = np.arange(len(boxes))
    example = Example(
        image_id='a',
        path='a.jpg',
        offset=None,
        length=None,
        height=300,
        width=300,
        boxes_yxyx_px=np.array(boxes, np.float32).reshape(-1, 4),
        classes=np.array(classes, np.int32),
        difficult=np.isin(numbers, difficult),
        is_crowd=np.isin(numbers, crowds),
    )
    return Dataset('validation', ('cat', 'dog'), (example,), (), '')


def test_a_class_and_the_sizes_without_objects_that_count_are_named() -> None:
    found = judged.nothing_to_measure(dataset(WIDE, WIDE, classes=[1, 2], difficult=[1]))
    assert found == {
        '/dog': "no object of class 'dog' counts there (1 are difficult or a crowd)",
        'medium': 'no medium object counts there',
        'large': 'no large object counts there',
    }


def test_where_all_objects_are_ignored_nothing_can_be_measured() -> None:
    found = judged.nothing_to_measure(dataset(WIDE, WIDE, classes=[1, 1], difficult=[0], crowds=[1]))
    assert found['all'] == 'no object counts there (2 are difficult or a crowd)'
    assert sorted(found) == ['/cat', '/dog', 'all', 'large', 'medium', 'small']


def test_a_set_without_objects_has_nothing_at_all() -> None:
    assert judged.nothing_to_measure(dataset(classes=[]))['all'] == 'no object counts there'


def test_a_box_on_the_edge_of_two_sizes_is_of_both_as_pycocotools_has_it() -> None:
    assert sorted(judged.nothing_to_measure(dataset([0, 0, 32, 32], classes=[1]))) == ['/dog', 'large']


def test_objects_per_image_leave_crowds_out_and_difficult_ones_as_asked() -> None:
    given = dataset(WIDE, WIDE, WIDE, classes=[1, 1, 1], difficult=[0], crowds=[1])
    assert judged.objects_per_image(given, include_difficult=True) == (2,)
    assert judged.objects_per_image(given, include_difficult=False) == (1,)
