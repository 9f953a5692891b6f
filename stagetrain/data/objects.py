"""How many objects of a data set can be learned, or measured, and why the others cannot. TensorFlow-free.

found = to_learn(dataset, include_difficult=False)
found.num_usable, str(found)       # 0, '12 objects: 10 crowds, 2 no larger than a pixel'
found = to_measure(dataset)        # evaluation ignores difficult objects whatever training does
found.by_class['cat']              # 0: no metric of this class can be measured
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from stagetrain.data.annotation import Dataset

SMALLEST_AREA_PX = 1.0
"""A box that covers no more shows nothing; whole data sets of them are coordinates from 0 to 1 that were taken for pixels."""
_REMEDIES = {
    'crowds': 'Training passes over crowds: mark single objects.',
    'difficult': 'Training passes over difficult objects: set data.train.include_difficult: true to learn from them.',
    'no larger than a pixel': 'Are their coordinates from 0 to 1? Pixels of the stored image are expected.',
}
_KINDS = tuple(_REMEDIES)


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

    @property
    def remedies(self) -> list[str]:
        """Returns a sentence for each reason that something can be done about."""
        return [remedy for reason, remedy in _REMEDIES.items() if reason in self.left_out]

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
    classes, reasons = _columns(dataset, include_difficult)
    usable = np.bincount(classes[reasons < 0], minlength=len(dataset.classes) + 1)
    left_out = dict(zip(_KINDS, np.bincount(reasons[reasons >= 0], minlength=len(_KINDS)).tolist(), strict=True))
    left_out |= {f"of the ignored class '{name}'": count for name, count in dataset.ignored.items()}
    return ObjectCounts(
        num_images=len(dataset.examples),
        by_class={name: int(usable[number]) for number, name in enumerate(dataset.classes, 1)},
        left_out={reason: count for reason, count in left_out.items() if count},
    )


def _columns(dataset: Dataset, include_difficult: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns class ids and, as int, the first of `_KINDS` that holds, -1 for usable; of all objects."""
    examples = dataset.examples
    classes = np.concatenate([np.zeros(0, np.int32), *(example.classes for example in examples)])
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(example.boxes_yxyx_px for example in examples)])
    is_crowd = np.concatenate([np.zeros(0, np.bool_), *(example.is_crowd for example in examples)])
    difficult = np.concatenate([np.zeros(0, np.bool_), *(example.difficult for example in examples)])
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    columns = (is_crowd, difficult & (not include_difficult), areas <= SMALLEST_AREA_PX)
    return classes, np.select(columns, range(len(columns)), default=-1)
