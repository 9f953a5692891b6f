"""How good detections and proposals are: COCO average precision and recall, without TensorFlow.

    metrics = detection_metrics(dataset, detections)    # {'AP': 0.47, 'AP50': 0.84, ..., 'AP/RBC': 0.55}
    metrics |= proposal_recall(dataset, proposals)      # {'AR@300': 0.52, 'recall_0.5@300': 0.93, ...}

Boxes are (ymin, xmin, ymax, xmax) in pixels of the stored image. Objects that are difficult or a crowd count as 'ignore': finding
them is neither right nor wrong. Values are fractions in [0, 1]; None means that there was no object to measure on.

Shapes: D detections of a data set, I images, P proposals of an image, N objects of an image, T IoU thresholds.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from stagetrain.config import metric_names
from stagetrain.config.metric_names import COCO_METRICS, MASK_PREFIX, RECALL
from stagetrain.data import masks
from stagetrain.data.annotation import Dataset
from stagetrain.data.numbering import Numbering, places_in
from stagetrain.errors import DataError, suggestion
from stagetrain.evaluation.coco_eval import IMAGES_AT_A_TIME, ArrayEvaluation, stacked
from stagetrain.pipeline.answers import Metrics

_AT_100 = 2
"""Where 100 detections an image stand in COCO's `maxDets`: 1, 10, 100."""
IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
"""COCO's, as pycocotools computes them."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """Detected objects of a whole data set, one row each, in any order."""

    image_index: NDArray[np.int32]
    """int32 `[D]`: index into `Dataset.examples`."""
    boxes_yxyx_px: NDArray[np.float32]
    """float32 `[D, 4]`: (ymin, xmin, ymax, xmax) in pixels of the stored image."""
    scores: NDArray[np.float32]
    """float32 `[D]`."""
    classes: NDArray[np.int32]
    """int32 `[D]`: from 1."""
    masks: tuple[str, ...] | None = None
    """`D` masks over the stored image, as `stagetrain.data.masks` has them; None where the detector predicts none."""

    def mask_pixels(self, dataset: Dataset, image: int) -> NDArray[np.uint8] | None:
        """Returns the masks of one image's detections, uint8 `[d, height, width]`: 1 where the object is."""
        if self.masks is None:
            return None
        example = dataset.examples[image]
        found = list(itertools.compress(self.masks, self.image_index == image))
        return masks.pixels(found, example.height, example.width)

    def to_coco(self, dataset: Dataset, numbering: Numbering) -> list[dict[str, Any]]:
        """Returns COCO result records; `bbox` is (x, y, width, height) in pixels, ids are those of `numbering`."""
        return [
            {
                'image_id': numbering.image_ids[image],
                'category_id': numbering.category_ids[category - 1],
                'bbox': [float(value) for value in bbox],
                'score': float(score),
                **segmentation,
            }
            for image, category, bbox, score, segmentation in zip(
                self.image_index,
                self.classes,
                _xywh(self.boxes_yxyx_px),
                self.scores,
                _segmentations(dataset, self.image_index, self.masks),
                strict=True,
            )
        ]

    @classmethod
    def from_coco(
        cls, records: Sequence[Mapping[str, Any]], dataset: Dataset, skeleton: Mapping[str, Any] | None = None
    ) -> Detections:
        """Reads what `to_coco` gives.

        Args:
          records: COCO result records.
          dataset: the data set that they are of.
          skeleton: what `Numbering.skeleton` gave with them; None: records of version 1.0 and before, which name images by
            their `image_id` in the data set and classes by their numbers.

        Raises:
          DataError: a record lacks a key, has a value of the wrong type or shape, or names an unknown image or category.
        """
        ids, classes = _ids(dataset, skeleton)
        rows = [_row_of_record(number, record, ids, classes) for number, record in enumerate(records)]
        xywh = np.array([row[1] for row in rows], np.float64).reshape(-1, 4)
        xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        return cls(
            image_index=np.array([row[0] for row in rows], np.int32),
            boxes_yxyx_px=xyxy[:, [1, 0, 3, 2]].astype(np.float32),
            scores=np.array([row[2] for row in rows], np.float32),
            classes=np.array([row[3] for row in rows], np.int32),
            masks=_masks_of_records(records),
        )


def detection_metrics(dataset: Dataset, detections: Detections, max_detections: int | None = None) -> Metrics:
    """COCO metrics of `detections`, over all examples of `dataset`, at most 100 detections an image.

    Args:
      dataset: the truth.
      detections: what a detector found; images without a detection count as missed.
      max_detections: a larger number of detections an image, at which AP and AR are measured too (`metric_names.at`).

    Returns:
      `COCO_METRICS` and the AP of each class (`AP/RBC`); None where there is no such object. Where both have masks, the same
      again by the overlap of masks: `mask_AP`, `mask_AP50`, ..., `mask_AP/RBC`.

    Raises:
      DataError: a box or score is not finite; the message names the image.
    """
    require_finite(dataset, detections)
    metrics = dict(_coco_metrics(dataset, detections, 'bbox', max_detections))
    if detections.masks is not None and all(example.masks is not None for example in dataset.examples):
        of_masks = _coco_metrics(dataset, detections, 'segm', max_detections)
        metrics |= {f'{MASK_PREFIX}{name}': value for name, value in of_masks.items()}
    return metrics


def _coco_metrics(dataset: Dataset, detections: Detections, kind: str, max_detections: int | None) -> Metrics:
    """Returns COCO's metrics by the overlap, and the areas, of boxes (`bbox`) or masks (`segm`)."""
    truth, found = _truth_annotations(dataset), _annotations(dataset, detections)
    if kind == 'segm':
        for annotation in (*truth, *found):
            annotation['area'] = float(coco_mask.area(annotation['segmentation']))
    # pycocotools reports every phase by print; its numbers come back as arrays.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = ArrayEvaluation(_coco(dataset, truth), _coco(dataset, found), kind)
        if max_detections is not None:
            evaluator.params.maxDets = [*evaluator.params.maxDets, max_detections]
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    metrics = {name: _measured(value) for name, value in zip(COCO_METRICS, evaluator.stats, strict=True)}
    precision = evaluator.eval['precision'][:, :, :, 0, _AT_100]  # [T, recall, class] over all sizes.
    for position, name in enumerate(dataset.classes):
        metrics[f'AP/{name}'] = _measured(precision[:, :, position].mean())
    return metrics if max_detections is None else {**metrics, **_metrics_at(evaluator, dataset.classes, max_detections)}


def _metrics_at(evaluator: ArrayEvaluation, classes: Sequence[str], max_detections: int) -> Metrics:
    """Returns what `summarize` computes for 100 detections an image, for the last number of `maxDets`; over all sizes."""
    precision, recall = evaluator.eval['precision'][:, :, :, 0, -1], evaluator.eval['recall'][:, :, 0, -1]
    of_threshold = {round(float(iou), 2): row for iou, row in zip(evaluator.params.iouThrs, precision, strict=True)}
    values = (precision, of_threshold[0.5], of_threshold[0.75], recall)
    metrics = {name: _mean_measured(value) for name, value in zip(metric_names.at(max_detections), values, strict=True)}
    of_class = (_mean_measured(precision[:, :, position]) for position in range(len(classes)))
    return metrics | {f'AP@{max_detections}/{name}': value for name, value in zip(classes, of_class, strict=True)}


def _mean_measured(values: NDArray[np.float64]) -> float | None:
    """The mean of what was measured; classes without objects are -1."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None


def proposal_recall(
    dataset: Dataset, proposals: Sequence[NDArray[np.float32]], counts: Sequence[int] = (100, 300, 1000)
) -> Metrics:
    """Recall of class-agnostic proposals, matched as COCO matches detections.

    Args:
      dataset: the truth.
      proposals: for each example float32 `[P, 4]` boxes_yxyx_px, best first.
      counts: numbers of proposals an image to measure at.

    Returns:
      For each count `recall_0.5@300` (share of objects found at IoU 0.5) and `AR@300` (mean of the recalls at IoU 0.5 to 0.95);
      `recall_0.5` is that of the largest count. None when the data set has no object.

    Raises:
      DataError: a box is not finite; the message names the image.
    """
    assert len(proposals) == len(dataset.examples), (len(proposals), len(dataset.examples))
    _require_finite_truth(dataset)
    largest = max(counts)
    ranks = [np.empty((len(IOU_THRESHOLDS), 0), np.int64)]
    for start in range(0, len(proposals), IMAGES_AT_A_TIME):
        images = slice(start, start + IMAGES_AT_A_TIME)
        iou = []
        for example, boxes in zip(dataset.examples[images], proposals[images], strict=True):
            _require_finite(boxes[:largest], f'a proposal of image {example.image_id}')
            iou.append(box_iou(boxes[:largest], example.boxes_yxyx_px[~(example.difficult | example.is_crowd)]))
        ranks.extend(rank[:, : one.shape[1]] for rank, one in zip(matched_ranks(stacked(iou, 0.0)), iou, strict=True))
    rank = np.concatenate(ranks, axis=1)
    metrics: dict[str, float | None] = {}
    for count in counts:
        recall = (rank < count).mean(axis=1) if rank.shape[1] else None
        metrics[f'recall_0.5@{count}'] = None if recall is None else float(recall[0])
        metrics[f'AR@{count}'] = None if recall is None else float(recall.mean())
    metrics[RECALL] = metrics[f'{RECALL}@{largest}']
    return metrics


def box_iou(boxes: NDArray[np.floating], objects: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of two lists of boxes.

    Args:
      boxes: `[P, 4]` (ymin, xmin, ymax, xmax), any unit.
      objects: `[N, 4]`, likewise.

    Returns:
      float64 `[P, N]` in [0, 1]; 0 where both areas are 0.
    """
    first, second = boxes.astype(np.float64)[:, None], objects.astype(np.float64)[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=-1)
    union = np.prod(first[..., 2:] - first[..., :2], axis=-1) + np.prod(second[..., 2:] - second[..., :2], axis=-1) - overlap
    return np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0)


def matched_ranks(iou: NDArray[np.float64]) -> NDArray[np.int64]:
    """Greedy matching as in pycocotools' `evaluateImg`: each proposal in turn takes the free object that it overlaps most.

    A prefix of the proposals is matched as it would be alone, so one matching serves every number of proposals.

    Args:
      iou: float64 `[I, P, N]`, best proposal first.

    Returns:
      int64 `[I, T, N]`: which proposal took the object at each of `IOU_THRESHOLDS`; the largest int64 when none did.
    """
    num_images, _, num_objects = iou.shape
    rank = np.full((num_images, len(IOU_THRESHOLDS), num_objects), np.iinfo(np.int64).max)
    free = np.ones(rank.shape, bool)
    for proposal in np.flatnonzero((iou >= IOU_THRESHOLDS[0]).any(axis=(0, 2))):
        overlap = iou[:, None, proposal]
        candidates = np.where(free & (overlap >= IOU_THRESHOLDS[:, None]), overlap, -1.0)
        # Of equally overlapped objects pycocotools takes the last.
        chosen = num_objects - 1 - candidates[:, :, ::-1].argmax(axis=2)
        image, threshold = np.nonzero(candidates.max(axis=2) >= 0)
        taken = (image, threshold, chosen[image, threshold])
        rank[taken] = proposal
        free[taken] = False
    return rank


def _coco(dataset: Dataset, annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {
        'images': [
            {'id': position, 'height': example.height, 'width': example.width}
            for position, example in enumerate(dataset.examples)
        ],
        'categories': [{'id': position, 'name': name} for position, name in enumerate(dataset.classes, start=1)],
        # pycocotools stores the id of what was matched and takes 0 for 'nothing': ids must start at 1.
        'annotations': [{'id': number, **annotation} for number, annotation in enumerate(annotations, start=1)],
    }
    coco.createIndex()
    return coco


def _truth_annotations(dataset: Dataset) -> list[dict[str, Any]]:
    return [
        {
            'image_id': position,
            'category_id': int(category),
            'bbox': bbox,
            'area': bbox[2] * bbox[3],
            'iscrowd': int(ignore),
            **segmentation,
        }
        for position, example in enumerate(dataset.examples)
        for bbox, category, ignore, segmentation in zip(
            _xywh(example.boxes_yxyx_px),
            example.classes,
            example.difficult | example.is_crowd,
            _segmentations(dataset, [position] * len(example.classes), example.masks),
            strict=True,
        )
    ]


def _segmentations(dataset: Dataset, image_index: Iterable[int], found: Sequence[str] | None) -> list[dict[str, Any]]:
    """Returns what a record of COCO has beside the box: its mask, or nothing."""
    if found is None:
        return [{} for _ in image_index]
    sizes = [(dataset.examples[index].height, dataset.examples[index].width) for index in image_index]
    return [{'segmentation': masks.as_coco(mask, *size)} for mask, size in zip(found, sizes, strict=True)]


def _masks_of_records(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...] | None:
    if not records or any('segmentation' not in record for record in records):
        return None
    return tuple(record['segmentation']['counts'] for record in records)


def _annotations(dataset: Dataset, detections: Detections) -> list[dict[str, Any]]:
    segmentations = _segmentations(dataset, detections.image_index, detections.masks)
    columns = (detections.image_index, detections.classes, _xywh(detections.boxes_yxyx_px), detections.scores, segmentations)
    return [
        {
            'image_id': int(image),
            'category_id': int(category),
            'bbox': bbox,
            'area': bbox[2] * bbox[3],
            'iscrowd': 0,
            'score': float(score),
            **segmentation,
        }
        for image, category, bbox, score, segmentation in zip(*columns, strict=True)
    ]


def _xywh(boxes_yxyx: NDArray[np.float32]) -> list[list[float]]:
    boxes = boxes_yxyx.astype(np.float64)
    return np.stack([boxes[:, 1], boxes[:, 0], boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]], axis=1).tolist()


def _measured(value: float) -> float | None:
    """pycocotools says -1 where there was no object to measure on."""
    return None if value < 0 else float(value)


def require_finite(dataset: Dataset, detections: Detections) -> None:
    """Refuses boxes and scores that are NaN or infinite.

    Raises:
      DataError: naming the image.
    """
    _require_finite_truth(dataset)
    _require_finite_detections(dataset, detections)


def _require_finite_truth(dataset: Dataset) -> None:
    for example in dataset.examples:
        _require_finite(example.boxes_yxyx_px, f'a true box of image {example.image_id}')


def _require_finite_detections(dataset: Dataset, detections: Detections) -> None:
    values = np.concatenate([detections.boxes_yxyx_px, detections.scores[:, None]], axis=1)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if bad.size:
        image_id = dataset.examples[detections.image_index[bad[0]]].image_id
        _require_finite(values[bad[:1]], f'a detection (box and score) of image {image_id}')


def _require_finite(values: NDArray[np.floating], what: str) -> None:
    """One image's boxes set to NaN lift an untrained model's COCO AP from 0.0015 to 0.39, silently."""
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values).all(axis=1)][0]
        raise DataError(
            f'{what}: found {bad.tolist()}, expected finite numbers. Metrics over it would mean nothing: correct the annotation, '
            'or look for the step in which the loss left the finite numbers.'
        )


def _ids(dataset: Dataset, skeleton: Mapping[str, Any] | None) -> tuple[Mapping[Any, int], Mapping[Any, int]]:
    """Returns id of an image in records -> its index in the data set, and id of a category -> class."""
    index = {example.image_id: position for position, example in enumerate(dataset.examples)}
    if skeleton is None:
        return index, {number: number for number in range(1, len(dataset.classes) + 1)}
    sources, classes = places_in(skeleton, dataset)
    return {id_: index[source] for id_, source in sources.items() if source in index}, classes


def _row_of_record(
    number: int, record: Mapping[str, Any], index: Mapping[Any, int], classes: Mapping[Any, int]
) -> tuple[int, list[float], float, int]:
    try:
        image, bbox = index.get(record['image_id']), [float(value) for value in record['bbox']]
        score, category = float(record['score']), int(record['category_id'])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'detections[{number}]: {error!r}; expected image_id, category_id, bbox of 4 numbers, score') from error
    if len(bbox) != 4:
        raise DataError(f'detections[{number}].bbox: found {len(bbox)} numbers, expected 4 (x, y, width, height in pixels)')
    if image is None:
        image_id = record['image_id']
        raise DataError(
            f"detections[{number}].image_id: found '{image_id}', which is none of the data set's {len(index)} images."
            f'{suggestion(str(image_id), map(str, index))}'
        )
    if category not in classes:
        raise DataError(f'detections[{number}].category_id: found {category}, expected one of {sorted(classes)}')
    return image, bbox, score, classes[category]
