"""What a data set can be judged by: which objects an evaluation counts, and how many an image holds. TensorFlow-free.

nothing_to_measure(dataset)                          # {'/cat': "no object of class 'cat' in it", 'large': ...}
objects_per_image(dataset, include_difficult=True)   # (3, 0, 12, ...): training sees so many
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stagetrain.config import metric_names
from stagetrain.data.annotation import Dataset, Example

_SIZES = {'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2), 'large': (96.0**2, 1e10)}
"""COCO's, in square pixels, both ends included: `Params.setDetParams` of pycocotools."""


def nothing_to_measure(dataset: Dataset) -> dict[str, str]:
    """Returns the groups of `metric_names.group` of which no object counts in an evaluation, each with the reason.

    Difficult objects and crowds do not count: finding one is neither right nor wrong.
    """
    groups = {metric_names.ALL: 'object', **{f'/{name}': f"object of class '{name}'" for name in dataset.classes}}
    groups |= {size: f'{size} object' for size in _SIZES}
    counting = _by_group(dataset, is_counted=True)
    ignored = _by_group(dataset, is_counted=False)
    return {
        group: f'no {what} counts there' + (f' ({ignored[group]} are difficult or a crowd)' if ignored[group] else '')
        for group, what in groups.items()
        if not counting[group]
    }


def objects_per_image(dataset: Dataset, *, include_difficult: bool) -> tuple[int, ...]:
    """Returns how many objects of each image count: crowds never do, difficult objects where they are included."""
    return tuple(int(kept.sum()) for kept in (_kept(example, include_difficult) for example in dataset.examples))


def _by_group(dataset: Dataset, *, is_counted: bool) -> dict[str, int]:
    classes = np.concatenate([np.zeros(0, np.int32), *_columns(dataset, 'classes', is_counted)])
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *_columns(dataset, 'boxes_yxyx_px', is_counted)]).astype(np.float64)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    by_class = {f'/{name}': int((classes == number).sum()) for number, name in enumerate(dataset.classes, 1)}
    by_size = {size: int(((areas >= low) & (areas <= high)).sum()) for size, (low, high) in _SIZES.items()}
    return {metric_names.ALL: len(classes), **by_class, **by_size}


def _columns(dataset: Dataset, name: str, is_counted: bool) -> Iterator[np.ndarray]:
    for example in dataset.examples:
        yield getattr(example, name)[_kept(example, include_difficult=False) == is_counted]


def _kept(example: Example, include_difficult: bool) -> np.ndarray:
    return np.asarray(~example.is_crowd & (include_difficult | ~example.difficult))
