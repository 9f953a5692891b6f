"""A stage's batches, by index: what a step sees depends on (seed, stage, step, image) and on nothing else.

    train = TrainingInput(images, detector, seed=stage_seed(0, 'rpn_1'), batch_size=4, terms=['rpn_score', 'rpn_box'])
    for batch in train.batches(first_step=200, last_step=600): ...

Where views are a finite set, resized images and matched anchors are computed once and kept in memory within a budget.

B images, H x W pixels, G ground-truth boxes, A anchors, P proposals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import tensorflow as tf
from official.vision.ops import preprocess_ops

from stagetrain.images import oversampling
from stagetrain.images.batches import ReadView, resized_images
from stagetrain.images.geometry import View
from stagetrain.images.loading import Images
from stagetrain.images.network_input import Batch, Known, Seeds
from stagetrain.images.randomness import Purpose, at, image_at
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import ShouldStop


class StageInput(Protocol):
    """What gives a stage its batches."""

    def batches(self, first_step: int, last_step: int) -> Iterable[Batch]:
        """Returns the batches of steps `first_step` (from 0) to `last_step` - 1: the same, whichever step is the first."""


class TrainingInput:
    """The batches of a network that reads images with boxes: a `StageInput`."""

    def __init__(
        self,
        images: Images,
        detector: Any,
        *,
        seed: tf.Tensor,
        batch_size: int,
        terms: Sequence[str],
        needs_images: bool = True,
        views: Views | None = None,
        known: Mapping[str, ReadView] | None = None,
        features: Mapping[str, ReadView] | None = None,
        cache_gib: float = 0.0,
        num_threads: int = 2,
        should_stop: ShouldStop = lambda: False,
    ):
        """Stores what decides the batches.

        Args:
          images: the training set.
          detector: gives `match` and `targets`.
          seed: the stage's seed, int32 `[2]`.
          batch_size: B.
          terms: the live loss terms; the detector makes their targets.
          needs_images: False when stored features take the place of images.
          views: what is drawn from; by default what the images' geometry says.
          known: key of `Known` that artefacts fill, e.g. `proposals` -> what reads it.
          features: key of `Batch.features` -> what reads it.
          cache_gib: memory for resized images and matched anchors.
          num_threads: for decoding and target assignment.
          should_stop: asked while images are resized in advance; `batches` then raises `Interrupted`.
        """
        self._images, self._detector, self._seed, self._batch_size = images, detector, seed, batch_size
        self._views = views or Views(images.geometry, seed, None)
        self._terms, self._needs_images = tuple(terms), needs_images
        self._more_known, self._features = known or {}, features or {}
        self._cache_bytes, self._num_threads, self._should_stop = cache_gib * 2**30, num_threads, should_stop
        factors = images.repeat_factors
        self._order = None if factors is None else oversampling.epoch(factors, seed)
        self._resized: tf.Tensor | None = None
        self._matched: dict[str, tf.Tensor] | None = None

    def batches(self, first_step: int, last_step: int) -> tf.data.Dataset:
        """Returns the batches of steps `first_step` (from 0) to `last_step` - 1."""
        num_samples = (last_step - first_step) * self._batch_size
        self._fill_caches(num_samples)
        positions = tf.data.Dataset.range(first_step * self._batch_size, last_step * self._batch_size)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        dataset = positions.map(self._sample, num_parallel_calls=self._num_threads)
        return dataset.batch(self._batch_size, drop_remainder=True).prefetch(3).with_options(options)

    # ---- one sample -----------------------------------------------------------------------------------------------------

    @tf.autograph.experimental.do_not_convert
    def _sample(self, position: tf.Tensor) -> Batch:
        index = self._image_at(position)
        seed = at(self._seed, position // self._batch_size, index)
        view = self._views.draw(index, at(seed, Purpose.VIEW))
        size = tf.gather(self._images.sizes, index)
        shape = self._images.geometry.shown_size(view, size)
        known = self._known(index, view)
        seeds = Seeds(anchors=at(seed, Purpose.ANCHORS), rois=at(seed, Purpose.ROIS))
        sample: Batch = {
            'image_index': tf.cast(index, tf.int32),
            'image_shape': shape,
            'seed': seeds['rois'],
            'gt_boxes': known['gt_boxes'],
            'gt_classes': known['gt_classes'],
            'targets': self._detector.targets(known, self._match(index, view, known), seeds, self._terms),
        }
        mask_size = self._detector.mask_size(self._terms)
        if mask_size is not None:
            shown = self._images.masks(index, view, mask_size)
            sample['gt_masks'] = preprocess_ops.clip_or_pad_to_fixed_size(shown, self._images.boxes.shape[1], -1)
        if self._needs_images:
            sample['image'] = self._image(index, view, shape)
        if self._features:
            sample['features'] = {key: read(index, view) for key, read in self._features.items()}
        return sample

    def _image_at(self, position: tf.Tensor) -> tf.Tensor:
        if self._order is None:
            return image_at(position, len(self._images), self._seed)
        return tf.gather(self._order, image_at(position, len(self._order), self._seed))

    def _known(self, index: tf.Tensor, view: View) -> Known:
        """Returns what is known of a view before anything is sampled."""
        boxes, classes = self._images.objects(index, view)
        width = self._images.boxes.shape[1]
        known: Any = {
            'num_objects': tf.shape(classes)[0],
            'image_shape': self._images.geometry.shown_size(view, tf.gather(self._images.sizes, index)),
            'gt_boxes': preprocess_ops.clip_or_pad_to_fixed_size(boxes, width, -1),
            'gt_classes': preprocess_ops.clip_or_pad_to_fixed_size(classes, width, -1),
        }
        return known | {key: read(index, view) for key, read in self._more_known.items()}

    def _image(self, index: tf.Tensor, view: View, shape: tf.Tensor) -> tf.Tensor:
        if self._resized is None:
            return self._images.show(index, view)
        return self._images.geometry.mirror(tf.gather(self._resized, index), view.flip, tf.cast(shape, tf.int32))

    def _match(self, index: tf.Tensor, view: View, known: Known) -> Mapping[str, tf.Tensor]:
        if self._matched is None:
            return self._detector.match(known, self._terms)
        row = index * self._num_views + tf.cast(view.number, tf.int64)
        return {key: tf.gather(table, row) for key, table in self._matched.items()}

    # ---- what is computed once ------------------------------------------------------------------------------------------

    @property
    def _num_views(self) -> int:
        assert self._views.count is not None
        return self._views.count

    def _fill_caches(self, num_samples: int) -> None:
        """Keeps resized images and matched anchors when views are finite, the budget allows it, and it pays."""
        geometry = self._images.geometry
        if self._resized is not None or self._matched is not None:
            return
        budget = self._cache_bytes
        image_bytes = len(self._images) * geometry.padded[0] * geometry.padded[1] * 3 * 4
        if self._needs_images and geometry.only_flips and num_samples >= len(self._images) and image_bytes <= budget:
            self._resized = resized_images(self._images, self._num_threads, self._should_stop)
            budget -= image_bytes
        if self._views.count is not None and num_samples >= len(self._images) * self._num_views:
            self._matched = self._match_all(budget)

    def _match_all(self, budget: float) -> dict[str, tf.Tensor] | None:
        @tf.autograph.experimental.do_not_convert
        def match(row: tf.Tensor) -> dict[str, tf.Tensor]:
            index = row // self._num_views
            view = self._views.numbered(index, tf.cast(row % self._num_views, tf.int32))
            return self._detector.match(self._known(index, view), self._terms)

        num_rows = len(self._images) * self._num_views
        dataset = tf.data.Dataset.range(num_rows).map(match, num_parallel_calls=self._num_threads)
        row_bytes = sum(spec.shape.num_elements() * spec.dtype.size for spec in dataset.element_spec.values())
        if not row_bytes or row_bytes * num_rows > budget:
            return None
        return dict(dataset.batch(num_rows).get_single_element())
