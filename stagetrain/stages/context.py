"""What a job file says, made into objects: the part that all kinds of jobs share."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from stagetrain.config import load, schema, specs
from stagetrain.config.options import NetworkOptions
from stagetrain.config.stages import model_as_built, seed_of
from stagetrain.data import user_cache
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.devices import setup
from stagetrain.images.geometry import Geometry, geometry_of
from stagetrain.images.loading import Images, plain_images
from stagetrain.pipeline.jobs import WorkJob
from stagetrain.stages.network import build_network


@dataclasses.dataclass(frozen=True)
class Context:
    """A job's surroundings."""

    id: str
    """The stage's id."""
    run_dir: pathlib.Path
    """The run directory, absolute."""
    pipeline: schema.PipelineBase
    """As it is written."""
    stage: schema.Stage
    model: NetworkOptions
    """The options of the stage's network, as it is built."""
    strategy: tf.distribute.Strategy
    """Networks, and all else that has variables, are made in its scope."""

    @property
    def seed(self) -> int:
        """The stage's seed, or the pipeline's."""
        return seed_of(self.pipeline, self.stage)

    def geometry(self, training: bool) -> Geometry:
        """Returns how images become inputs; without views when not training."""
        return geometry_of(self.model, training)

    def build_detector(self, modules: tuple[str, ...]) -> Any:
        """Builds the stage's network with `modules` and initial values."""
        with self.strategy.scope():
            return build_network(self.pipeline, self.stage, modules)

    def training_images(self, changes: Iterable[Callable[[Dataset], Dataset]] = ()) -> Images:
        """Loads the training set; `changes` are applied to it one after the other, e.g. by artefacts that add to it."""
        dataset = self._dataset('train')
        for change in changes:
            dataset = change(dataset)
        return Images(
            dataset,
            self.geometry(training=True),
            self.pipeline.data.train.include_difficult,
            repeat_threshold=self.stage.train.repeat_threshold,
        )

    def validation_images(self) -> Images:
        """Loads the validation set; nothing that it shows depends on difficult objects."""
        return plain_images(self._dataset('validation'), self.model)

    def _dataset(self, name: str) -> Dataset:
        source, cache = getattr(self.pipeline.data, name), self.run_dir / 'cache'
        return load_dataset(source, self.pipeline.data, name, cache, user_cache_dir=user_cache.folder())


def prepare(job: WorkJob) -> Context:
    """Reads a job's resolved pipeline and stage and sets TensorFlow up for it."""
    pipeline = load.load_resolved(job.pipeline).pipeline  # First of all: it imports plugins, which may add keys to stages.
    stage = schema.stage_type().model_validate(job.stage)
    model = model_as_built(pipeline, stage)
    strategy = setup.configure(pipeline.runtime, has_our_gradients=specs.spec_of(model).reads_images)
    return Context(job.id, pathlib.Path(job.run_dir), pipeline, stage, model, strategy)
