"""Stored proposals: what one stage's RPN proposes for every image, for another stage's detection head.

They are made in inference mode on the plain image and, when training mirrors images, on the mirrored ones; a scale jitter moves
them with the image. Each image is decoded once for all its mirrored forms, and not at all where the stage that proposes has
stored features of them. A store has two tables; a row is float32 `[P, 4]`: (ymin, xmin, ymax, xmax) in pixels of the scaled and
mirrored image, best first, padded with -1.

    train         row `index * F + form` of each training image, made as the stage that reads them asks
    validation    row `index` of each validation image, made as the detector proposes in inference

B images, F mirrored forms of an image, P proposals.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from stagetrain.config import schema, scopes, specs
from stagetrain.config.stages import earlier_stages
from stagetrain.detectors.detector import Cut, Detector, Proposing
from stagetrain.evaluation import metrics
from stagetrain.images import randomness
from stagetrain.images.batches import ReadImage, ReadView, whole_batches
from stagetrain.images.geometry import View, plain_view
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import Emit, ProposalsResult, ShouldStop, progress
from stagetrain.pipeline.jobs import ArtefactJob
from stagetrain.stages.context import Context, prepare
from stagetrain.stages.network import loaded_network
from stagetrain.stores import arrays, features
from stagetrain.stores.reader import ArtefactReader
from stagetrain.weights import names

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
    maker = schema.stage_type().model_validate(job.maker)
    stored = _stored_features(context, maker, detector, train)
    train_rows = _rows(detector, proposing, len(train), _read_forms(train, num_flips, stored))
    validation_rows = _rows(detector, detector.proposing, len(validation), _read_forms(validation, 1, None))

    tables = {'train': train_rows, 'validation': validation_rows}
    arrays.make(folder, tables, lambda done, total: emit(progress(done, total)), should_stop)
    found = ProposalReader(folder, settings).pixels(validation)
    return {
        'folder': str(folder),
        'digest': arrays.verify(folder),
        'num_images': len(train) + len(validation),
        'seconds': time.monotonic() - started,
        'recall': metrics.proposal_recall(validation.dataset, found, context.pipeline.evaluation.num_proposals),
    }


def seconds_of_making(context: Context) -> float:
    """Returns about what `make_proposals` takes for a stage, by a few images and a network at its initial values."""
    started = time.monotonic()
    settings = context.stage.proposals
    assert settings is not None
    detector = context.build_detector(specs.spec_of(context.model).proposal_modules)
    train, validation = context.training_images(), context.validation_images()
    maker = earlier_stages(context.pipeline, context.id)[settings.origin].stage
    stored = _noise_of_stored_features(context, maker, detector, train)
    proposing = Proposing(settings.pre_nms_top_k, settings.nms_iou, settings.max_per_image)
    tables = [
        _rows(detector, proposing, len(train), _read_forms(train, train.geometry.num_flips, stored)),
        _rows(detector, detector.proposing, len(validation), _read_forms(validation, 1, None)),
    ]
    estimates = [rows.seconds_of_making() for rows in tables]
    return time.monotonic() - started + sum(estimates)


def _noise_of_stored_features(
    context: Context, maker: schema.Stage, detector: Detector, images: Images
) -> features.ReadFeatures | None:
    """Returns noise where the proposing stage will have stored features that serve."""
    place = _place_of_stored_features(context, maker, detector, images)
    held = list(names.named_variables(detector.modules))
    rest = scopes.surely_frozen(held, maker.freeze_variables, maker.train_variables)
    trained = [name for name in held if name not in rest]
    if place is None:
        return None
    decision = features.decide(maker.features, detector, trained, images, place.views)
    if decision.mode == 'off' or decision.cut != place.cut:
        return None
    rows = features.front_of(detector, place.cut, images.geometry.padded, maker.features.dtype).layout.noise()
    return features.ReadFeatures(place.cut.key, lambda index, view: rows)


@dataclasses.dataclass(frozen=True)
class _Forms:
    """What proposals of an image are made of, in all its mirrored forms."""

    count: int
    """F."""
    read: Callable[[tf.Tensor], Batch]
    """Image index, int64 scalar -> its forms as a batch, `[F, ...]`: what `Detector.propose` reads."""


def _read_forms(images: Images, num_flips: int, stored: features.ReadFeatures | None) -> _Forms:
    def read(index: tf.Tensor) -> Batch:
        views = [dataclasses.replace(plain_view(), number=tf.constant(n), flip=tf.constant(n)) for n in range(num_flips)]
        shape = images.geometry.shown_size(plain_view(), tf.gather(images.sizes, index))
        forms = Batch(image_shape=tf.tile(shape[tf.newaxis], [num_flips, 1]))
        if stored is not None:
            rows = [stored.read(index, view) for view in views]
            read_levels = {level: tf.stack([row[level] for row in rows]) for level in rows[0]}
            return {**forms, 'features': {stored.key: read_levels}}
        plain = images.resized(index)
        mirrored = [images.geometry.mirror(plain, view.flip, tf.cast(shape, tf.int32)) for view in views]
        return {**forms, 'image': tf.stack(mirrored)}

    return _Forms(num_flips, read)


def _rows(detector: Detector, proposing: Proposing, num_images: int, forms: _Forms) -> arrays.Rows:
    @tf.function(autograph=False)
    def propose(batch: Batch) -> tf.Tensor:
        flat = tf.nest.map_structure(lambda values: tf.reshape(values, [BATCH_SIZE, *values.shape[2:]]), dict(batch))
        boxes, scores = detector.propose(flat, proposing)
        return tf.where(scores[..., tf.newaxis] > 0, boxes, PADDING)

    def compute(first: int, last: int) -> np.ndarray:  # Of whole images: a part of a store has a multiple of all counts.
        batches = whole_batches(first // forms.count, last // forms.count, BATCH_SIZE // forms.count, forms.read)
        return np.concatenate([propose(batch).numpy() for batch in batches])[: last - first]

    return arrays.Rows(num_images * forms.count, compute)


def _stored_features(context: Context, maker: schema.Stage, detector: Detector, images: Images) -> features.ReadFeatures | None:
    """Returns what reads the features that the proposing stage stored for its own steps; None where those do not serve."""
    place = _place_of_stored_features(context, maker, detector, images)
    return features.stored(context.run_dir, detector, place.cut, images, place.views) if place is not None else None


class _Place(NamedTuple):
    """What the proposing stage stores, if it does."""

    cut: Cut
    views: Views


def _place_of_stored_features(context: Context, maker: schema.Stage, detector: Detector, images: Images) -> _Place | None:
    """Returns which features of the proposing stage serve to make proposals; None where they cannot."""
    last = specs.spec_of(context.model).proposal_modules[-1]
    cut = detector.frozen_cut([name for name in names.named_variables(detector.modules) if name.split('/')[0] == last])
    views = Views(images.geometry, randomness.stage_seed(context.seed, maker.name), maker.features.views)
    # Rounded features would give other proposals, and random views are not the mirrored forms that proposals are made of.
    if cut is None or cut.layers or maker.features.views is not None or views.count is None or maker.features.dtype != 'float32':
        return None
    return _Place(cut, views)


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
