"""pycocotools' COCO evaluation with its two slow loops, over thresholds and over detections, done on arrays.

    evaluation = ArrayEvaluation(truth, found, 'bbox')      # in place of COCOeval: same precision and recall, to the bit

pycocotools visits every detection, object, threshold and range of sizes in Python, which took as long as the detector's head.

N images in which a class has detections or objects, D detections, G objects, A ranges of sizes, T thresholds, R recalls,
K classes, M numbers of detections.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

IMAGES_AT_A_TIME = 64
"""Images matched at once: enough to make numpy's calls few, at some 10 MB an array for 1000 proposals and 20 objects."""


@dataclasses.dataclass(frozen=True)
class _Image:
    """What was found of one class in one image, best first, and what is there."""

    scores: NDArray[np.float64]
    """`[D]`."""
    iou: NDArray[np.float64]
    """`[D, G]`."""
    is_outside: NDArray[np.bool_]
    """`[A, D]`: detections of a size outside a range."""
    is_ignored: NDArray[np.bool_]
    """`[A, G]`: objects outside a range, and crowds."""
    is_crowd: NDArray[np.bool_]
    """`[G]`."""


@dataclasses.dataclass(frozen=True)
class _Class:
    """All detections of one class, image by image."""

    scores: NDArray[np.float64]
    """`[D]`."""
    ranks: NDArray[np.int64]
    """`[D]`: place among the detections of its image, from 0."""
    is_matched: NDArray[np.bool_]
    """`[A, T, D]`."""
    is_ignored: NDArray[np.bool_]
    """`[A, T, D]`: neither right nor wrong."""
    num_objects: NDArray[np.int64]
    """`[A]`: objects to be found."""


class ArrayEvaluation(COCOeval):
    """`COCOeval` for boxes and masks.

    `eval` holds `precision` `[T, R, K, A, M]` and `recall` `[T, K, A, M]`, -1 where there are no objects.
    """

    def evaluate(self) -> None:
        """Matches detections with objects, image by image."""
        self._prepare()
        self._classes = [self._class(list(self._images(category))) for category in self.params.catIds]

    def accumulate(self, p: Any = None) -> None:
        """Computes `eval` from the matches; `p` is not used."""
        params = self.params
        counts = (len(params.catIds), len(params.areaRng), len(params.maxDets))
        precision = -np.ones((len(params.iouThrs), len(params.recThrs), *counts))
        recall = -np.ones((len(params.iouThrs), *counts))
        for k, one in enumerate(self._classes):
            order = np.argsort(-one.scores, kind='mergesort')
            for m, most in enumerate(params.maxDets):
                kept = order[one.ranks[order] < most]
                for a in np.flatnonzero(one.num_objects):
                    right = one.is_matched[a][:, kept] & ~one.is_ignored[a][:, kept]
                    wrong = ~one.is_matched[a][:, kept] & ~one.is_ignored[a][:, kept]
                    precision[:, :, k, a, m], recall[:, k, a, m] = _curve(right, wrong, one.num_objects[a], params.recThrs)
        self.eval = {'precision': precision, 'recall': recall}

    def _images(self, category: int) -> Iterator[_Image]:
        most = self.params.maxDets[-1]
        ranges = np.array(self.params.areaRng, np.float64)[:, :, np.newaxis]
        for image in self.params.imgIds:
            found, objects = self._dts[image, category], self._gts[image, category]
            if not found and not objects:
                continue
            scores = np.array([one['score'] for one in found], np.float64)
            order = np.argsort(-scores, kind='mergesort')[:most]
            areas = np.array([one['area'] for one in found], np.float64)[order]
            object_areas = np.array([one['area'] for one in objects], np.float64)
            is_crowd = np.array([one['ignore'] for one in objects], bool)
            iou = np.array(self.computeIoU(image, category), np.float64).reshape(len(order), len(objects))
            is_outside = (areas < ranges[:, 0]) | (areas > ranges[:, 1])
            is_ignored = (object_areas < ranges[:, 0]) | (object_areas > ranges[:, 1]) | is_crowd
            yield _Image(scores[order], iou, is_outside, is_ignored, is_crowd)

    def _class(self, images: Sequence[_Image]) -> _Class:
        thresholds = np.minimum(self.params.iouThrs, 1 - 1e-10)
        num_ranges = len(self.params.areaRng)
        is_matched = [np.zeros((num_ranges, len(thresholds), 0), bool)]
        is_ignored = list(is_matched)
        for start in range(0, len(images), IMAGES_AT_A_TIME):
            some = images[start : start + IMAGES_AT_A_TIME]
            for image, hit, on_ignored in zip(some, *_match(some, thresholds), strict=True):
                hit, on_ignored = hit[:, :, : len(image.scores)], on_ignored[:, :, : len(image.scores)]
                is_matched.append(hit)
                is_ignored.append(on_ignored | ~hit & image.is_outside[:, np.newaxis])
        return _Class(
            np.concatenate([np.zeros(0), *(image.scores for image in images)]),
            np.concatenate([np.zeros(0, np.int64), *(np.arange(len(image.scores)) for image in images)]),
            np.concatenate(is_matched, axis=2),
            np.concatenate(is_ignored, axis=2),
            sum((np.count_nonzero(~image.is_ignored, axis=1) for image in images), np.zeros(num_ranges, np.int64)),
        )


def _match(images: Sequence[_Image], thresholds: NDArray[np.float64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Matches as `COCOeval.evaluateImg`: each detection in turn takes the free object that it overlaps most.

    One that is not ignored is preferred; of equally overlapped objects the last is taken; a crowd stays free.

    Returns:
      `[N, A, T, D]`: whether a detection has an object, and whether that one is ignored.
    """
    iou = stacked([image.iou for image in images], -1.0)
    ignored = stacked([image.is_ignored for image in images], True)
    crowd = stacked([image.is_crowd for image in images], False)
    num_images, num_detections, num_objects = iou.shape
    free = np.ones((num_images, ignored.shape[1], len(thresholds), num_objects), bool)
    is_matched = np.zeros((*free.shape[:3], num_detections), bool)
    on_ignored = np.zeros_like(is_matched)
    for detection in range(num_detections if num_objects else 0):  # A class that no image has, too, is detected somewhere.
        rows = np.flatnonzero((iou[:, detection] >= thresholds[0]).any(axis=1))
        overlap = iou[rows, detection][:, np.newaxis, np.newaxis]
        candidates = free[rows] & (overlap >= thresholds[:, np.newaxis])
        counting = candidates & ~ignored[rows][:, :, np.newaxis]
        candidates = np.where(counting.any(axis=-1, keepdims=True), counting, candidates)
        image, area, threshold = np.nonzero(candidates.any(axis=-1))
        best = np.where(candidates, overlap, -1.0)[image, area, threshold]
        taken = num_objects - 1 - best[:, ::-1].argmax(axis=1)
        image = rows[image]
        is_matched[image, area, threshold, detection] = True
        on_ignored[image, area, threshold, detection] = ignored[image, area, taken]
        free[image, area, threshold, taken] = crowd[image, taken]
    return is_matched, on_ignored


def _curve(
    right: NDArray[np.bool_], wrong: NDArray[np.bool_], num_objects: int, recalls: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns precision `[T, R]` at the recalls wanted, and the recall `[T]` of all detections, which are sorted by score."""
    true, false = (np.cumsum(counted, axis=1).astype(float) for counted in (right, wrong))
    recall = true / num_objects
    precision = true / (false + true + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # The best at this recall or a higher one.
    at_recalls = np.zeros((len(right), len(recalls)))
    for threshold, reached in enumerate(recall):
        place = np.searchsorted(reached, recalls, side='left')
        is_reached = place < len(reached)
        at_recalls[threshold, is_reached] = precision[threshold, place[is_reached]]
    return at_recalls, recall[:, -1] if recall.shape[1] else np.zeros(len(right))


def stacked(arrays: Sequence[NDArray[Any]], filling: Any) -> NDArray[Any]:
    """Stacks arrays of equal rank and differing sizes to one that holds the largest; the rest of it is `filling`."""
    shape = np.max([array.shape for array in arrays], axis=0)
    whole = np.full((len(arrays), *shape), filling, arrays[0].dtype)
    for number, array in enumerate(arrays):
        whole[number][tuple(slice(size) for size in array.shape)] = array
    return whole
