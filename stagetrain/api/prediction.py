"""Networks in a program or notebook of one's own: detecting with a finished stage, and a stage's network to look at.

    predictor = Predictor('runs/bccd', stage='detector_2', score_threshold=0.3)
    found = predictor('image.jpg')
    network = build_detector(pipeline, stage='rpn_1')

TensorFlow is imported when an image is shown or a network is built, not before.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stagetrain.api.pipeline import Pipeline
from stagetrain.config.stages import all_stages
from stagetrain.errors import ConfigError, known_names, suggestion
from stagetrain.inference import choice
from stagetrain.pipeline.rundir import RunDirectory
from stagetrain.workers.environment import prepare_environment

if TYPE_CHECKING:
    import tensorflow as tf

    from stagetrain.inference.image_detection import Found, ImageDetection, Picture
    from stagetrain.stages.network import StageNetwork


class Predictor:
    """Detects with the weights of a finished stage."""

    def __init__(self, run_dir: str | os.PathLike[str], stage: str | None = None, *, score_threshold: float = 0.0) -> None:
        """Finds the stage and compares its checkpoint with what was committed.

        Args:
          run_dir: a run directory.
          stage: a finished stage, by id; the pipeline's last by default.
          score_threshold: detections below this score are left out.

        Raises:
          RunDirectoryError: it is no run directory.
          BadInput: it has no such finished stage, or that cannot detect by itself.
        """
        path = pathlib.Path(run_dir)
        RunDirectory(path).require()
        self._chosen, self._threshold = choice.choose(path, stage), score_threshold

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; the first has id 1."""
        return tuple(self._chosen.pipeline.data.classes)

    def __call__(self, images: Picture | Sequence[Picture]) -> Found | list[Found]:
        """Returns what is found in an image (uint8 `[height, width, 3]` RGB, or a path), or in each of a sequence.

        Raises:
          DataError: a file is no image that can be used, or an array has another type or shape.
        """
        return self._detection(images)

    @functools.cached_property
    def _detection(self) -> ImageDetection:
        prepare_environment()
        from stagetrain.inference import image_detection

        return image_detection.ImageDetection(self._chosen, score_threshold=self._threshold)


class StageModel:
    """A stage's network at its initial values."""

    def __init__(self, built: StageNetwork) -> None:
        self._built = built

    @property
    def modules(self) -> Mapping[str, Any]:
        """Name of a module -> its Keras layer, or list of layers, in network order."""
        return dict(self._built.network.modules)

    @property
    def variables(self) -> Mapping[str, tf.Variable]:
        """Canonical name -> variable."""
        return self._built.variables

    @property
    def trained(self) -> tuple[str, ...]:
        """Canonical names of what the stage's optimizer moves."""
        return tuple(self._built.roles.trained)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Canonical names of what stays bit-identical in the stage: frozen by a scope, or reached by no live loss."""
        return tuple(self._built.roles.frozen)

    @property
    def network(self) -> Any:
        """The `stagetrain.detectors.detector.Detector`, whose batches that module describes."""
        return self._built.network

    def losses(self, batch: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """Returns live loss term -> unweighted value, float32 scalar, in training mode, on a batch as `Detector` describes it."""
        return dict(self._built.network.losses(batch, sorted(self._built.loss_weights)))


def build_detector(pipeline: Pipeline, stage: str | None = None) -> StageModel:
    """Builds a stage's network with its initial values; nothing is loaded or trained.

    Python's, NumPy's and TensorFlow's generators and Keras' layer names are left as they were; TensorFlow's thread pools are set
    as `runtime` says where TensorFlow has not started yet.

    Args:
      pipeline: the pipeline.
      stage: a stage's id; the last one of the pipeline by default.

    Raises:
      ConfigError: there is no such stage, or a scope matches nothing.
    """
    stages = {entry.id: entry.stage for entry in all_stages(pipeline.config)}
    chosen = stage or pipeline.config.stages[-1].name
    if chosen not in stages:
        raise ConfigError(f"stage: no stage '{chosen}'. Known here: {known_names(stages)}.{suggestion(chosen, stages)}")
    prepare_environment()
    from stagetrain.stages.network import stage_network
    from stagetrain.stages.undisturbed import undisturbed

    with undisturbed():
        return StageModel(stage_network(pipeline.config, stages[chosen], chosen))
