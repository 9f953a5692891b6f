"""Stored proposals: what one stage's RPN proposes for every image, for another stage's detection head.

They are made in inference mode on the plain image and, when training mirrors images, on the mirrored ones; a scale jitter moves
them with the image. B images, P proposals.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.evaluation import metrics
from stagetrain.images.batches import whole_batches
from stagetrain.images.geometry import View, plain_view
from stagetrain.images.loading import Images
from stagetrain.stores import arrays
from stagetrain.training import job_files
from stagetrain.training.input import PROPOSAL_PADDING
from stagetrain.weights import assign

BATCH_SIZE = 8


def make_proposals(
    job: Mapping[str, Any], emit: Callable[[dict[str, Any]], None], should_stop: Callable[[], bool]
) -> dict[str, Any]:
    """Makes the store that a job names.

    Args:
      job: a job file's content; `stage` is the stage that asks, `origins` name the checkpoints of the modules that propose.
      emit: told events.
      should_stop: asked between parts.

    Returns:
      The result as BUILD.md describes.

    Raises:
      StagetrainError: the weights or the data cannot be used, or the job was interrupted.
    """
    started = time.monotonic()
    context = job_files.prepare(job)
    settings = context.stage.proposals
    assert settings is not None
    detector = context.build_detector(tuple(job['origins']))
    assign.initialise(detector.modules, job['origins'])
    train, validation = context.training_images(), context.validation_images()
    options = context.pipeline.model.roi_generator
    folder = pathlib.Path(job['proposals'])
    num_flips = train.geometry.num_flips
    train_rows = _rows(detector, train, num_flips, settings.pre_nms_top_k, settings.nms_iou, settings.max_per_image)
    validation_rows = _rows(
        detector, validation, 1, options.test_pre_nms_top_k, options.test_nms_iou_threshold, options.test_num_proposals
    )

    def progress(done: int, total: int) -> None:
        emit({'event': 'progress', 'step': done, 'num_steps': total, 'values': {}})

    arrays.make(folder, {'train': train_rows, 'validation': validation_rows}, progress, should_stop)
    return {
        'folder': str(folder),
        'digest': arrays.verify(folder),
        'num_images': len(train) + len(validation),
        'seconds': time.monotonic() - started,
        'recall': _recall(folder, validation, context.pipeline.evaluation.num_proposals),
    }


def _rows(detector: Any, images: Images, num_flips: int, pre_nms_top_k: int, nms_iou: float, num_proposals: int) -> arrays.Rows:
    @tf.function(autograph=False)
    def propose(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        boxes, scores = detector.propose(batch, pre_nms_top_k=pre_nms_top_k, nms_iou=nms_iou, num_proposals=num_proposals)
        return tf.where(scores[..., tf.newaxis] > 0, boxes, PROPOSAL_PADDING)

    def sample(row: tf.Tensor) -> dict[str, tf.Tensor]:
        index = row // num_flips
        flip = tf.cast(row % num_flips, tf.int32)
        view = dataclasses.replace(plain_view(), flip=flip)
        return {
            'image': images.show(index, view),
            'image_shape': images.geometry.shown_size(view, tf.gather(images.sizes, index)),
        }

    def compute(first: int, last: int) -> np.ndarray:
        batches = whole_batches(first, last, BATCH_SIZE, sample)
        return np.concatenate([propose(batch).numpy() for batch in batches])[: last - first]

    return arrays.Rows(len(images) * num_flips, compute)


def _recall(folder: pathlib.Path, images: Images, counts: list[int]) -> dict[str, float | None]:
    """Returns the recall on the validation set of the proposals that were stored."""
    store = ValidationProposals(folder, images)
    rows = [store.stored_pixels(index) for index in range(len(images))]
    return metrics.proposal_recall(images.dataset, rows, counts)


class TrainingProposals:
    """Stored proposals of the training set."""

    def __init__(self, folder: pathlib.Path, num_flips: int):
        """Args: folder: a committed store; num_flips: mirrored forms of an image, as when the store was made."""
        self._store = arrays.ArrayStore(folder, 'train')
        self._num_flips = num_flips

    def read(self, index: tf.Tensor, view: View) -> tf.Tensor:
        """Returns float32 `[P, 4]` yxyx in pixels of the scaled and mirrored image, padded with -1, inside a tf.data function."""
        row = tf.cast(index, tf.int64) * self._num_flips + tf.cast(view.flip, tf.int64)
        boxes = tf.numpy_function(lambda i: self._store.row(int(i)), [row], tf.float32)
        return tf.ensure_shape(boxes, self._store.row_shape)


class ValidationProposals:
    """Stored proposals of the validation set."""

    def __init__(self, folder: pathlib.Path, images: Images):
        """Args: folder: a committed store; images: the validation set."""
        self._store = arrays.ArrayStore(folder, 'validation')
        self._images = images

    def read(self, index: int) -> np.ndarray:
        """Returns float32 `[P, 4]` yxyx in pixels of the scaled image, padded with -1."""
        return self._store.row(index)

    def stored_pixels(self, index: int) -> np.ndarray:
        """Returns the valid proposals float32 `[P, 4]` yxyx in pixels of the stored image."""
        boxes = self._store.row(index)
        size = tf.constant(self._images.sizes[index])
        shown = self._images.geometry.shown_size(plain_view(), size)
        return boxes[boxes.max(axis=-1) >= 0] / np.tile(shown.numpy() / size.numpy(), 2)
