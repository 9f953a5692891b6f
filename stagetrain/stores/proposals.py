"""Stored proposals: what one stage's RPN proposes for every image, for another stage's detection head.

They are made in inference mode on the plain image and, when training mirrors images, on the mirrored ones; a scale jitter moves
them with the image. B images, P proposals.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from stagetrain.detectors.detector import Detector, Proposing
from stagetrain.evaluation import metrics
from stagetrain.images.batches import ReadImage, ReadView, whole_batches
from stagetrain.images.geometry import View, plain_view
from stagetrain.images.loading import Images
from stagetrain.pipeline.answers import Emit, ProposalsResult, ShouldStop, progress
from stagetrain.pipeline.jobs import ArtefactJob
from stagetrain.stages.context import prepare
from stagetrain.stages.network import loaded_network
from stagetrain.stores import arrays
from stagetrain.stores.reader import ArtefactReader

BATCH_SIZE = 8
PROPOSALS = 'proposals'
"""The key of a batch under which detectors find them."""
PADDING = -1.0


def make_proposals(job: ArtefactJob, emit: Emit, should_stop: ShouldStop) -> ProposalsResult:
    """Makes the store that a job names.

    Args:
      job: `stage` is the stage that asks, `origins` name the checkpoints of the modules that propose.
      emit: told events.
      should_stop: asked between parts.

    Raises:
      StagetrainError: the weights or the data cannot be used, or the job was interrupted.
    """
    started = time.monotonic()
    context = prepare(job)
    settings = context.stage.proposals
    assert settings is not None
    with context.strategy.scope():
        detector = loaded_network(context.pipeline, context.stage, job.origins)
    train, validation = context.training_images(), context.validation_images()
    folder = pathlib.Path(job.folder)
    num_flips = train.geometry.num_flips
    proposing = Proposing(settings.pre_nms_top_k, settings.nms_iou, settings.max_per_image)
    train_rows = _rows(detector, train, num_flips, proposing)
    validation_rows = _rows(detector, validation, 1, detector.proposing)

    tables = {'train': train_rows, 'validation': validation_rows}
    arrays.make(folder, tables, lambda done, total: emit(progress(done, total)), should_stop)
    stored = ProposalReader(folder, settings).pixels(validation)
    return {
        'folder': str(folder),
        'digest': arrays.verify(folder),
        'num_images': len(train) + len(validation),
        'seconds': time.monotonic() - started,
        'recall': metrics.proposal_recall(validation.dataset, stored, context.pipeline.evaluation.num_proposals),
    }


def _rows(detector: Detector, images: Images, num_flips: int, proposing: Proposing) -> arrays.Rows:
    @tf.function(autograph=False)
    def propose(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        boxes, scores = detector.propose(batch, **proposing._asdict())
        return tf.where(scores[..., tf.newaxis] > 0, boxes, PADDING)

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


class ProposalReader(ArtefactReader):
    """Stored proposals of both data sets."""

    def training(self, images: Images) -> Mapping[str, ReadView]:
        """Returns `proposals` -> float32 `[P, 4]` yxyx in pixels of the scaled and mirrored image, padded with -1."""
        store = arrays.ArrayStore(self.folder, 'train')
        num_flips = images.geometry.num_flips

        def read(index: tf.Tensor, view: View) -> tf.Tensor:
            row = tf.cast(index, tf.int64) * num_flips + tf.cast(view.flip, tf.int64)
            boxes = tf.ensure_shape(tf.numpy_function(lambda i: store.row(int(i)), [row], tf.float32), store.row_shape)
            return boxes if images.geometry.only_flips else _moved(images, boxes, index, view)

        return {PROPOSALS: read}

    def validation(self, images: Images) -> Mapping[str, ReadImage]:
        """Returns `proposals` -> float32 `[P, 4]` yxyx in pixels of the scaled image, padded with -1."""
        del images
        return {PROPOSALS: arrays.ArrayStore(self.folder, 'validation').row}

    def pixels(self, images: Images) -> list[np.ndarray]:
        """Returns for each validation image the valid proposals float32 `[P, 4]` yxyx in pixels of the stored image."""
        store = arrays.ArrayStore(self.folder, 'validation')
        return [_stored_pixels(store.row(index), images.sizes[index], images) for index in range(len(images))]


def _moved(images: Images, proposals: tf.Tensor, index: tf.Tensor, view: View) -> tf.Tensor:
    """Carries proposals made on the mirrored but otherwise plain image into a view; padding stays padding."""
    size = tf.gather(images.sizes, index)
    _, base_scale, _, base_shape = images.geometry.placement(plain_view(), size)
    upright = images.geometry.mirror_boxes(proposals, view.flip, base_shape) / tf.tile(base_scale, [2])
    moved = images.geometry.place_boxes(upright, view, size)
    is_padding = tf.reduce_max(proposals, axis=-1, keepdims=True) < 0
    return tf.where(is_padding, proposals, moved)


def _stored_pixels(boxes: np.ndarray, size: Any, images: Images) -> np.ndarray:
    shown = images.geometry.shown_size(plain_view(), tf.constant(size))
    return boxes[boxes.max(axis=-1) >= 0] / np.tile(shown.numpy() / tf.constant(size).numpy(), 2)
