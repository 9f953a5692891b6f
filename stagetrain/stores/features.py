"""Stored features: the outputs of a stage's frozen modules, computed once for each image and view.

The cut is found from the model: a detector names the place behind which nothing frozen is left to compute. A row holds all
tensors there of one view, flattened one behind the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from stagetrain import files
from stagetrain.config import schema, versions
from stagetrain.detectors.detector import Cut, Detector
from stagetrain.detectors.frozen_front import num_multiplications
from stagetrain.images.batches import whole_batches
from stagetrain.images.geometry import View
from stagetrain.images.loading import Images
from stagetrain.images.views import Views
from stagetrain.pipeline.answers import Emit, FeaturesResult, ShouldStop, note, progress
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.stores import arrays
from stagetrain.weights import assign

BATCH_SIZE = 8
MULTIPLICATIONS_A_BYTE = 32
"""A processor core multiplies about as often while it reads one stored byte, checks included (`docs/performance.md`)."""


@dataclasses.dataclass(frozen=True)
class StoreDecision:
    """Whether a stage's steps read stored features, and why."""

    mode: str
    """`off`, `memory` or `disk`."""
    reason: str
    cut: Cut | None
    num_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class RowLayout:
    """How the tensors of one view (levels, or outputs of layers) lie in a row."""

    shapes: Mapping[str, tuple[int, ...]]
    dtype: str

    @property
    def num_values(self) -> int:
        """Values of a row."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.num_values * tf.as_dtype(self.dtype).size

    def flatten(self, features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns `[B, values]` of name -> `[B, h, w, C]`. bfloat16 is stored as its 16 bits, for numpy has no such type."""
        rows = tf.concat([tf.reshape(features[level], [tf.shape(features[level])[0], -1]) for level in self.shapes], axis=1)
        return tf.bitcast(tf.cast(rows, tf.bfloat16), tf.uint16) if self.dtype == 'bfloat16' else rows

    def split(self, row: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns name -> float32 `[h, w, C]` of one row."""
        row = tf.cast(tf.bitcast(row, tf.bfloat16), tf.float32) if self.dtype == 'bfloat16' else row
        parts = tf.split(row, [math.prod(shape) for shape in self.shapes.values()])
        return {level: tf.reshape(part, shape) for (level, shape), part in zip(self.shapes.items(), parts, strict=True)}

    def noise(self) -> dict[str, tf.Tensor]:
        """Returns what stands for a row where only its shape counts: name -> float32 `[h, w, C]`."""
        random = np.random.default_rng(0)
        return {name: tf.constant(random.normal(size=shape), tf.float32) for name, shape in self.shapes.items()}

    @property
    def stored(self) -> tf.DType:
        """The type of the values on disk."""
        return tf.uint16 if self.dtype == 'bfloat16' else tf.float32


@dataclasses.dataclass(frozen=True)
class Front:
    """What lies in front of a cut: how its outputs are stored, and what computing them takes."""

    layout: RowLayout
    num_multiplications: int
    """For one image."""

    @property
    def is_worth_storing(self) -> bool:
        """Whether a row takes longer to compute than to read."""
        return self.num_multiplications >= MULTIPLICATIONS_A_BYTE * self.layout.row_bytes()


def front_of(detector: Detector, cut: Cut, input_size: tuple[int, int], dtype: str) -> Front:
    """Traces a detector up to a cut, for images of (height, width); `dtype` is what its outputs are stored as."""
    spec = tf.TensorSpec([1, *input_size, 3], tf.float32)
    traced = tf.function(lambda image: dict(detector.features_at(cut, {'image': image})), autograph=False).get_concrete_function(
        spec
    )
    outputs = traced.structured_outputs
    layout = RowLayout({name: tuple(outputs[name].shape[1:]) for name in sorted(outputs)}, dtype)
    return Front(layout, num_multiplications(traced.graph))


def decide(settings: schema.Features, detector: Detector, trained: list[str], images: Images, views: Views) -> StoreDecision:
    """Decides whether features are stored.

    Args:
      settings: the stage's `features`.
      detector: its modules are loaded.
      trained: canonical names of what trains.
      images: the training set.
      views: what the stage draws from.
    """
    num_rows = None if views.count is None else len(images) * views.count
    return decide_for(settings, detector, trained, images.geometry.padded, num_rows)


def decide_for(
    settings: schema.Features, detector: Detector, trained: list[str], input_size: tuple[int, int], num_rows: int | None
) -> StoreDecision:
    """Decides as `decide`, for images of (height, width) and so many views in all; None: they are no finite set."""
    cut = detector.frozen_cut(trained)
    if settings.store == 'off':
        return StoreDecision('off', 'features.store is off', cut)
    if cut is None:
        return StoreDecision('off', 'nothing in front is frozen', None)
    if num_rows is None:
        return StoreDecision(
            'off', 'views are no finite set: the frozen part is computed at each step (features.views makes them finite)', cut
        )
    front = front_of(detector, cut, input_size, settings.dtype)
    num_bytes = front.layout.row_bytes() * num_rows
    if settings.store == 'auto' and cut.layers and not front.is_worth_storing:
        return StoreDecision('off', f'{cut} takes no longer to compute than to read', cut, num_bytes)
    if settings.store == 'auto' and num_bytes > settings.budget_gib * 2**30:
        return StoreDecision(
            'off', f'{num_bytes / 2**30:.1f} GiB of features exceed features.budget_gib ({settings.budget_gib:g})', cut, num_bytes
        )
    return StoreDecision('disk' if settings.store == 'auto' else settings.store, f'the output of {cut} is fixed', cut, num_bytes)


class FeatureStore:
    """The features of a training set at one cut, in memory or on disk."""

    def __init__(self, detector: Detector, decision: StoreDecision, images: Images, views: Views, dtype: str):
        """Stores what decides the content; nothing is computed yet."""
        assert decision.cut is not None and views.count is not None
        self.cut, self._detector, self._images, self._views, self._count = decision.cut, detector, images, views, views.count
        self.layout = front_of(detector, decision.cut, images.geometry.padded, dtype).layout

    def fingerprint(self) -> str:
        """Returns a hash over weights, images, views and layout; equal fingerprint, equal features."""
        described = {
            'cut': [self.cut.module, *self.cut.layers],
            'weights': assign.module_digests(assign.digests(self._detector.variables_before(self.cut))),
            'data': self._images.dataset.digest,
            'geometry': dataclasses.asdict(self._images.geometry),
            'views': [self._count, self._views.num_fixed],
            'view_seed': self._views.seed.numpy().tolist() if self._views.num_fixed is not None else None,
            'layout': [sorted((level, list(shape)) for level, shape in self.layout.shapes.items()), self.layout.dtype],
            'versions': versions.package_versions(),
            'threads': [
                tf.config.threading.get_intra_op_parallelism_threads(),
                tf.config.threading.get_inter_op_parallelism_threads(),
            ],
        }
        return hashlib.sha256(files.as_bytes(files.canonical_json(described))).hexdigest()

    def in_memory(self, progress: arrays.RowsDone) -> Callable[[tf.Tensor, View], dict[str, tf.Tensor]]:
        """Computes all features and returns what reads them inside a tf.data function."""
        rows = self._rows()
        parts = []
        for first in range(0, rows.count, arrays.ROWS_OF_A_PART):
            parts.append(rows.compute(first, min(first + arrays.ROWS_OF_A_PART, rows.count)))
            progress(min(first + arrays.ROWS_OF_A_PART, rows.count), rows.count)
        table = tf.constant(np.concatenate(parts))
        return lambda index, view: self.layout.split(tf.gather(table, self._row(index, view)))

    def on_disk(
        self, folder: pathlib.Path, progress: arrays.RowsDone, should_stop: ShouldStop
    ) -> Callable[[tf.Tensor, View], dict[str, tf.Tensor]]:
        """Makes the store at `folder` unless it is there, checks it, and returns what reads it inside a tf.data function.

        Raises:
          Interrupted: `should_stop` said so; finished parts are kept.
          DamagedFile: the store has other bytes than were committed.
        """
        if not folder.exists():
            arrays.make(folder, {'features': self._rows()}, progress, should_stop)
        return self.committed(folder)

    def committed(self, folder: pathlib.Path) -> Callable[[tf.Tensor, View], dict[str, tf.Tensor]]:
        """Checks a store that is there and returns what reads it inside a tf.data function.

        Raises:
          DamagedFile: the store has other bytes than were committed.
        """
        arrays.verify(folder)
        store = arrays.ArrayStore(folder, 'features')

        def read(index: tf.Tensor, view: View) -> dict[str, tf.Tensor]:
            row = tf.numpy_function(lambda i: store.row(int(i)), [self._row(index, view)], self.layout.stored)
            return self.layout.split(tf.ensure_shape(row, [self.layout.num_values]))

        return read

    def seconds_of_making(self) -> float:
        """Returns about what computing all features takes."""
        started = time.monotonic()
        estimate = self._rows().seconds_of_making()
        return time.monotonic() - started + estimate

    def _row(self, index: tf.Tensor, view: View) -> tf.Tensor:
        return tf.cast(index, tf.int64) * self._count + tf.cast(view.number, tf.int64)

    def _rows(self) -> arrays.Rows:
        def sample(row: tf.Tensor) -> tf.Tensor:
            index = row // self._count
            return self._images.show(index, self._views.numbered(index, tf.cast(row % self._count, tf.int32)))

        @tf.function(autograph=False)
        def compute(images: tf.Tensor) -> tf.Tensor:
            return self.layout.flatten(self._detector.features_at(self.cut, {'image': images}))

        def compute_rows(first: int, last: int) -> np.ndarray:
            batches = whole_batches(first, last, BATCH_SIZE, sample)
            return np.concatenate([compute(batch).numpy() for batch in batches])[: last - first]

        return arrays.Rows(len(self._images) * self._count, compute_rows)


class ReadFeatures(NamedTuple):
    """Features that another stage stored."""

    key: str
    """The batch key under which detectors find them."""
    read: Callable[[tf.Tensor, View], dict[str, tf.Tensor]]
    """(image index, view) -> level -> float32 `[h, w, C]`."""


def stored(run_dir: pathlib.Path, detector: Detector, cut: Cut, images: Images, views: Views) -> ReadFeatures | None:
    """Returns the float32 features of these weights, images and views that a stage of the run has stored, or None.

    Raises:
      DamagedFile: they have other bytes than were committed.
    """
    store = FeatureStore(detector, StoreDecision('disk', '', cut), images, views, 'float32')
    folder = RunDirectory(run_dir).store('features') / store.fingerprint()
    return ReadFeatures(cut.key, store.committed(folder)) if folder.is_dir() else None


def attach(
    run_dir: pathlib.Path,
    store: FeatureStore,
    decision: StoreDecision,
    emit: Emit,
    should_stop: ShouldStop,
) -> tuple[Callable[[tf.Tensor, View], dict[str, tf.Tensor]], FeaturesResult]:
    """Makes or opens a stage's features, and returns what reads them and what they took."""
    started = time.monotonic()

    def tell(done: int, total: int) -> None:
        emit(note(f'features: {done} of {total} views') if done == total else progress(0, total))

    fingerprint = store.fingerprint()
    if decision.mode == 'memory':
        read = store.in_memory(tell)
    else:
        read = store.on_disk(RunDirectory(run_dir).store('features') / fingerprint, tell, should_stop)
    seconds = time.monotonic() - started
    return read, FeaturesResult(
        mode=decision.mode, cut=str(decision.cut), bytes=decision.num_bytes, fingerprint=fingerprint, seconds=seconds
    )
