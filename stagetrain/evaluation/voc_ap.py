"""Pascal VOC's average precision, as the challenge's development kit computes it, at IoU 0.5.

    voc_average_precision(dataset, detections)      # {'VOC_AP': 0.81, 'VOC_AP11': 0.78, 'VOC_AP/RBC': ..., 'VOC_AP11/RBC': ...}

Source: VOCdevkit `VOCevaldet.m` (matching; 11 points in the kit of 2007) and `VOCap.m` (area, the kits from 2010 on); Everingham
et al., IJCV 88 (2010), section 4.2. Detections of a class are taken over all images by falling score. Each is compared with the
object of its class and image that it overlaps most, taken or not: a second detection of an object is wrong, not a match for the
next one. A detection whose object is difficult (here also: a crowd) counts as neither. There is no limit on detections an image.
We differ in one thing: boxes are edges, without the kit's `+ 1` on every width and height, as everywhere in this package.

Shapes: D detections of a class, N objects of an image and class.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stagetrain.data.annotation import Dataset, Example
from stagetrain.evaluation.metrics import Detections, box_iou, require_finite
from stagetrain.pipeline.answers import Metrics

MIN_IOU = 0.5


def voc_average_precision(dataset: Dataset, detections: Detections) -> Metrics:
    """Returns `VOC_AP` (area) and `VOC_AP11` (11 points), as means over classes and of each class (`VOC_AP/RBC`).

    Args:
      dataset: the truth.
      detections: what a detector found.

    Returns:
      Fractions in [0, 1]; None for a class without an object that counts, which the means leave out.

    Raises:
      DataError: a box or score is not finite; the message names the image.
    """
    require_finite(dataset, detections)
    metrics: dict[str, float | None] = {}
    for number, name in enumerate(dataset.classes, start=1):
        is_right, num_objects = _judged(dataset, detections, number)
        precision, recall = _precision_recall(is_right, num_objects)
        metrics[f'VOC_AP/{name}'] = area_under(precision, recall) if num_objects else None
        metrics[f'VOC_AP11/{name}'] = eleven_points(precision, recall) if num_objects else None
    return {**{mean: _mean(metrics, f'{mean}/') for mean in ('VOC_AP', 'VOC_AP11')}, **metrics}


def eleven_points(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    """VOC 2007: the mean, over recalls 0, 0.1, ..., 1, of the best precision at that recall or more (0 where it is not reached).
    Recalls are exact tenths; the kit's `0:0.1:1` holds 0.30000000000000004, which a recall of 3/10 misses.

    Args:
      precision: float64 `[D]`, by falling score.
      recall: float64 `[D]`, rising.
    """
    best = [precision[recall >= tenth / 10].max(initial=0.0) for tenth in range(11)]
    return float(np.mean(best))


def area_under(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> float:
    """From VOC 2010 on: the area under the precision that is made to fall with recall; arguments as in `eleven_points`."""
    edges = np.concatenate([[0.0], recall])
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(edges) * falling))


def _judged(dataset: Dataset, detections: Detections, number: int) -> tuple[NDArray[np.bool_], int]:
    """Returns bool `[D]`: whether each detection that counts is right, by falling score; and the number of objects that count."""
    mine = np.flatnonzero(detections.classes == number)
    mine = mine[np.argsort(-detections.scores[mine], kind='stable')]
    verdicts = np.zeros(len(mine), np.int8)
    image_of = detections.image_index[mine]
    num_objects = 0
    for index, example in enumerate(dataset.examples):
        rows = np.flatnonzero(image_of == index)
        num_objects += int(((example.classes == number) & ~_is_ignored(example)).sum())
        if len(rows):
            verdicts[rows] = _judged_in_image(example, number, detections.boxes_yxyx_px[mine[rows]])
    return verdicts[verdicts >= 0] == 1, num_objects


def _judged_in_image(example: Example, number: int, boxes: NDArray[np.float32]) -> list[int]:
    """Returns for each box, best first: 1 right, 0 wrong, -1 does not count."""
    is_of_class = example.classes == number
    if not is_of_class.any():
        return [0] * len(boxes)
    iou = box_iou(boxes, example.boxes_yxyx_px[is_of_class])
    is_ignored = _is_ignored(example)[is_of_class]
    is_taken = np.zeros(len(is_ignored), np.bool_)
    verdicts = []
    for overlaps, nearest in zip(iou, iou.argmax(axis=1), strict=True):
        if overlaps[nearest] < MIN_IOU:
            verdicts.append(0)
        elif is_ignored[nearest]:
            verdicts.append(-1)
        else:
            verdicts.append(0 if is_taken[nearest] else 1)
            is_taken[nearest] = True
    return verdicts


def _is_ignored(example: Example) -> NDArray[np.bool_]:
    return np.asarray(example.difficult | example.is_crowd)


def _precision_recall(is_right: NDArray[np.bool_], num_objects: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    found = np.cumsum(is_right)
    return found / np.arange(1, len(is_right) + 1), found / max(num_objects, 1)


def _mean(metrics: Metrics, prefix: str) -> float | None:
    values = [value for name, value in metrics.items() if name.startswith(prefix) and value is not None]
    return float(np.mean(values)) if values else None
