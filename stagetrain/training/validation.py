"""A stage's validation: what can be measured of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stagetrain.config import specs
from stagetrain.config.stages import can_detect, can_propose
from stagetrain.evaluation.evaluate import Evaluator, Outcome
from stagetrain.stages.context import Context
from stagetrain.stores.reader import ArtefactReader


class Validation:
    """Measures a stage's detector on the validation set; the graph is built once."""

    def __init__(self, context: Context, detector: Any, readers: Mapping[str, ArtefactReader]):
        """Decides what can be measured with the modules that the stage holds and the artefacts that it reads."""
        pipeline = context.pipeline
        spec = specs.spec_of(pipeline.model)
        self.images = context.validation_images()
        if spec.own_input:
            self._evaluator: Any = specs.load_implementation(spec.own_input)(context, detector)
            return
        self._evaluator = Evaluator(
            detector,
            self.images,
            batch_size=pipeline.evaluation.batch_size,
            can_detect=can_detect(spec, detector.modules, has_proposals=context.stage.proposals is not None),
            proposal_counts=tuple(pipeline.evaluation.num_proposals) if can_propose(spec, detector.modules) else (),
            extra={key: read for reader in readers.values() for key, read in reader.validation(self.images).items()},
            voc_ap=pipeline.evaluation.voc_ap,
        )

    def run(self, should_stop: Callable[[], bool]) -> Outcome:
        """Returns the metrics of the present weights; raises `Interrupted` when asked to stop meanwhile."""
        return self._evaluator.run(should_stop)
