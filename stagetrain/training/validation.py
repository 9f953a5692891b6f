"""A stage's validation: what can be measured of it."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from stagetrain import files
from stagetrain.config import specs
from stagetrain.config.stages import spec_of
from stagetrain.data import numbering
from stagetrain.evaluation.evaluate import Outcome, StageEvaluator, evaluator_of
from stagetrain.pipeline import run_files
from stagetrain.pipeline.answers import ShouldStop
from stagetrain.stages.context import Context
from stagetrain.stores.reader import ArtefactReader


class Validation:
    """Measures a stage's detector on the validation set; the graph is built once."""

    def __init__(self, context: Context, network: Any, readers: Mapping[str, ArtefactReader]):
        """Decides what can be measured with the modules that the stage holds and the artefacts that it reads."""
        pipeline, stage = context.pipeline, context.stage
        self.images, self._data = context.validation_images(), pipeline.data.validation
        spec = spec_of(pipeline, stage)
        if not spec.reads_images:
            self._evaluator: StageEvaluator = specs.load_implementation(spec.evaluator)(context, network)
        else:
            extra = {key: read for reader in readers.values() for key, read in reader.validation(self.images).items()}
            self._evaluator = evaluator_of(pipeline, stage, network, self.images, extra)

    def write(self, outcome: Outcome, folder: pathlib.Path) -> None:
        """Writes what was measured and found into a stage's folder."""
        files.write_json(folder / run_files.EVALUATION, outcome.metrics)
        if outcome.detections is not None:
            dataset = self.images.dataset
            ids = numbering.of_dataset(self._data, dataset)
            files.write_json(folder / numbering.IMAGES_FILE, ids.skeleton(dataset))
            files.write_json(folder / numbering.DETECTIONS_FILE, outcome.detections.to_coco(dataset, ids))

    def run(self, should_stop: ShouldStop) -> Outcome:
        """Returns the metrics of the present weights; raises `Interrupted` when asked to stop meanwhile."""
        return self._evaluator.run(should_stop)
