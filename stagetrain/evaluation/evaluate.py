"""Runs a detector over a data set and measures it."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypedDict, cast

import numpy as np
import tensorflow as tf
from official.vision.ops.mask_ops import paste_instance_masks

from stagetrain.config import schema
from stagetrain.config.stages import measured
from stagetrain.data import masks
from stagetrain.detectors.detector import Detector
from stagetrain.errors import Interrupted
from stagetrain.evaluation import metrics
from stagetrain.evaluation.metrics import Detections
from stagetrain.evaluation.voc_ap import voc_average_precision
from stagetrain.images.batches import evaluation_batches
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch
from stagetrain.pipeline.answers import ShouldStop

STOPPED = 'stopped in the evaluation, which the same command makes anew; what was trained is saved'


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an evaluation gives."""

    metrics: dict[str, float | None]
    detections: Detections | None


class Inferred(TypedDict, total=False):
    """What inference gives of a batch, as tensors, and of a whole data set, as arrays. P proposals, D detections."""

    proposal_boxes: Any
    """float32 `[B, P, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image, best first."""
    proposal_scores: Any
    """float32 `[B, P]`; 0 where there is no proposal."""
    boxes: Any
    """float32 `[B, D, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled image, by falling score."""
    scores: Any
    """float32 `[B, D]`."""
    classes: Any
    """int32 `[B, D]`, from 1."""
    num_valid: Any
    """int32 `[B]`: the detections that are none of padding."""
    masks: Any
    """Of a batch float32 `[B, D, m, m]` inside boxes; of a data set texts `[I, D]`, see `stagetrain.data.masks`."""
    scale: Any
    """Of a data set: float32 `[I, 2]`, scaled size / stored size."""


class StageEvaluator(Protocol):
    """What measures a stage on its validation set."""

    def run(self, should_stop: ShouldStop) -> Outcome:
        """Returns the metrics of the present weights; raises `Interrupted` when `should_stop` says so."""


class Evaluator:
    """Measures COCO AP, and the recall of the proposals, of a detector's present weights."""

    def __init__(
        self,
        detector: Detector,
        images: Images,
        *,
        batch_size: int,
        can_detect: bool,
        proposal_counts: tuple[int, ...] = (),
        extra: Mapping[str, Callable[[int], np.ndarray]] = types.MappingProxyType({}),
        voc_ap: bool = False,
        max_detections: int | None = None,
    ):
        """Stores what is measured; what the detector lacks modules for is not.

        Args:
          detector: its graph is built once, at the first `run`.
          images: the set to measure on.
          batch_size: images a step.
          can_detect: whether the detector gives detections (with its own RPN or on stored proposals).
          proposal_counts: numbers of proposals at which the RPN's recall is measured; empty: the RPN is not run on its own.
          extra: key of a batch -> what fills it, given an image's index; `proposals`, float32 `[P, 4]` in pixels of the scaled
            image, stand in for the RPN.
          voc_ap: whether Pascal VOC's AP is measured beside COCO's.
          max_detections: see `metrics.detection_metrics`.
        """
        self._voc_ap, self._max_detections = voc_ap, max_detections
        self._images, self._batch_size, self._can_detect, self._counts = images, batch_size, can_detect, proposal_counts
        self._extra = extra
        self._infer = build_inference(detector, can_detect, max(proposal_counts, default=0))

    def run(self, should_stop: ShouldStop = lambda: False) -> Outcome:
        """Runs over all images and returns the metrics.

        Args:
          should_stop: asked between batches.

        Raises:
          Interrupted: asked to stop.
        """
        merged = self._outputs(should_stop)
        values: dict[str, float | None] = {}
        detections = None
        if self._counts:
            boxes = merged['proposal_boxes'] / np.tile(merged['scale'], 2)[:, np.newaxis]
            valid = merged['proposal_scores'] > 0
            rows = [boxes[i][valid[i]] for i in range(len(self._images))]
            values.update(metrics.proposal_recall(self._images.dataset, rows, self._counts))
        if self._can_detect:
            detections = _collect(merged)
            values.update(metrics.detection_metrics(self._images.dataset, detections, self._max_detections))
            if self._voc_ap:
                values.update(voc_average_precision(self._images.dataset, detections))
        return Outcome(values, detections)

    def detect(self, should_stop: ShouldStop = lambda: False) -> Detections:
        """Runs over all images and returns the detections, in pixels of the stored images; `should_stop` is as for `run`."""
        return _collect(self._outputs(should_stop))

    def _outputs(self, should_stop: ShouldStop) -> Inferred:
        """Returns what inference gives for all images."""
        found: list[Any] = []
        for batch in evaluation_batches(self._images, self._batch_size, self._extra):
            if should_stop():
                raise Interrupted(STOPPED)
            outputs: Inferred = tf.nest.map_structure(lambda value: value.numpy(), self._infer(batch))
            outputs['scale'] = _scales(self._images, batch)
            if 'masks' in outputs:  # Masks of a whole data set would fill the memory; their run lengths do not.
                outputs['masks'] = _pasted(outputs, self._images, batch['image_index'].numpy())
            found.append(outputs)
        merged = {key: np.concatenate([part[key] for part in found])[: len(self._images)] for key in found[0]}
        return cast(Inferred, merged)


def evaluator_of(
    pipeline: schema.PipelineBase,
    stage: schema.Stage,
    network: Detector,
    images: Images,
    extra: Mapping[str, Callable[[int], np.ndarray]],
) -> Evaluator:
    """Returns what measures all that the modules of a stage can give, on any images; `extra` as for `Evaluator`."""
    known, settings = measured(pipeline, stage), pipeline.evaluation
    return Evaluator(
        network,
        images,
        batch_size=settings.batch_size,
        can_detect=known.detections,
        proposal_counts=known.proposal_counts,
        extra=extra,
        voc_ap=settings.voc_ap,
        max_detections=settings.max_detections,
    )


def build_inference(detector: Detector, can_detect: bool, num_proposals: int) -> Callable[[Batch], Inferred]:
    """Returns a graph that gives detections and, when `num_proposals` is not 0, proposals of a batch, sharing their features."""

    @tf.function(autograph=False)
    def infer(batch: Batch) -> Inferred:
        result = Inferred()
        shared: Batch = {**detector.with_features(batch)}
        if num_proposals:
            usual = detector.proposing
            boxes, scores = detector.propose(shared, usual._replace(num_proposals=num_proposals))
            result['proposal_boxes'], result['proposal_scores'] = boxes, scores
            if 'proposals' not in batch and num_proposals >= usual.num_proposals:
                # Sorted by score: the first are those of a run for fewer.
                shared['proposals'] = boxes[:, : usual.num_proposals]
        if can_detect:
            found = detector.detect(shared)
            result['boxes'], result['scores'] = found.boxes_yxyx_px, found.scores
            result['classes'], result['num_valid'] = found.classes, found.num_valid
            if found.masks is not None:
                result['masks'] = found.masks
        return result

    return infer


def _scales(images: Images, batch: Batch) -> np.ndarray:
    """Returns float32 `[B, 2]`: scaled size / stored size."""
    return batch['image_shape'].numpy() / images.sizes[batch['image_index'].numpy()]


def _pasted(outputs: Inferred, images: Images, image_index: np.ndarray) -> np.ndarray:
    """Returns the masks of detections over the stored images, objects `[B, D]`: texts as `stagetrain.data.masks` has them."""
    pasted = np.full(outputs['scores'].shape, '', object)
    for row, index in enumerate(image_index):
        example, count = images.dataset.examples[index], outputs['num_valid'][row]
        ymin, xmin, ymax, xmax = (outputs['boxes'][row, :count] / np.tile(outputs['scale'][row], 2)).T
        boxes_xywh = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
        for number in range(count):  # One at a time: each fills a whole image.
            one = slice(number, number + 1)
            pixels = paste_instance_masks(outputs['masks'][row, one], boxes_xywh[one], example.height, example.width)
            pasted[row, number] = masks.from_pixels(pixels)[0]
    return pasted


def _collect(merged: Inferred) -> Detections:
    """Returns detections in pixels of the stored images."""
    counts = merged['num_valid']
    keep = np.arange(merged['scores'].shape[1])[np.newaxis] < counts[:, np.newaxis]
    boxes = merged['boxes'] / np.tile(merged['scale'], 2)[:, np.newaxis]
    return Detections(
        image_index=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        boxes_yxyx_px=boxes[keep].astype(np.float32),
        scores=merged['scores'][keep].astype(np.float32),
        classes=merged['classes'][keep].astype(np.int32),
        masks=tuple(merged['masks'][keep]) if 'masks' in merged else None,
    )
