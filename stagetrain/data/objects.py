"""How many objects of a data set can be learned, or measured, and why the others cannot. TensorFlow-free.

found = to_learn(dataset, include_difficult=False)
found.num_usable, str(found)       # 0, '12 objects: 10 crowds, 2 no larger than a pixel'
found = to_measure(dataset)        # evaluation ignores difficult objects whatever training does
found.by_class['cat']              # 0: no metric of this class can be measured
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping

import numpy as np

from stagetrain.data.annotation import Dataset, Example

SMALLEST_AREA_PX = 1.0
"""A box that covers no more shows nothing; whole data sets of them are coordinates from 0 to 1 that were taken for pixels."""
_KINDS = ('crowds', 'difficult', 'no larger than a pixel')


@dataclasses.dataclass(frozen=True)
class ObjectCounts:
    """Objects of a data set by what can be done with them.

    Attributes:
      num_images: Images, with or without objects.
      by_class: Class name -> usable objects, for every class of the data set; 0 where there are none.
      left_out: Why objects are not usable -> how many; only reasons that occur, each object under its first one.
    """

    num_images: int
    by_class: Mapping[str, int]
    left_out: Mapping[str, int]

    @property
    def num_usable(self) -> int:
        """Returns how many objects can be learned, or measured."""
        return sum(self.by_class.values())

    @property
    def num_objects(self) -> int:
        """Returns how many objects there are, usable or not."""
        return self.num_usable + sum(self.left_out.values())

    def __str__(self) -> str:
        usable = [f'{self.num_usable} usable'] if self.num_usable else []
        reasons = [*usable, *(f'{count} {reason}' for reason, count in self.left_out.items())]
        return f'{self.num_objects} objects' + (f': {", ".join(reasons)}' if reasons else '')


def to_learn(dataset: Dataset, *, include_difficult: bool) -> ObjectCounts:
    """Counts the objects that training learns from.

    Args:
      dataset: What is trained on.
      include_difficult: `include_difficult` of its data source.
    """
    return _counts(dataset, include_difficult)


def to_measure(dataset: Dataset) -> ObjectCounts:
    """Counts the objects that evaluation measures: neither difficult nor a crowd."""
    return _counts(dataset, include_difficult=False)


def _counts(dataset: Dataset, include_difficult: bool) -> ObjectCounts:
    by_class = np.zeros(len(dataset.classes) + 1, np.int64)
    left_out: collections.Counter[str] = collections.Counter()
    for example in dataset.examples:
        reasons = _reasons(example, include_difficult)
        by_class += np.bincount(example.classes[reasons < 0], minlength=len(by_class))
        left_out.update(_KINDS[reason] for reason in reasons[reasons >= 0])
    left_out.update({f"of the ignored class '{name}'": count for name, count in dataset.ignored.items() if count})
    by_name = {name: int(by_class[number]) for number, name in enumerate(dataset.classes, 1)}
    return ObjectCounts(len(dataset.examples), by_name, dict(left_out))


def _reasons(example: Example, include_difficult: bool) -> np.ndarray:
    """Returns int `[N]`: the first of `_KINDS` that holds for an object, -1 for a usable one."""
    boxes = example.boxes_yxyx_px
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    columns = (example.is_crowd, example.difficult & (not include_difficult), areas <= SMALLEST_AREA_PX)
    return np.select(columns, range(len(columns)), default=-1)
