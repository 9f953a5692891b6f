"""How good a run's detector is on any data set: `stagetrain eval RUN_DIR --data PATH`.

metrics = measure(choice.choose(run_dir, stage=None), dataset)      # COCO's AP and AR, Pascal VOC's AP
"""

from __future__ import annotations

from stagetrain.data.annotation import Dataset
from stagetrain.inference import trained
from stagetrain.inference.choice import Chosen
from stagetrain.pipeline.answers import Metrics


def measure(chosen: Chosen, dataset: Dataset) -> Metrics:
    """Detects on every image of a data set and measures.

    Args:
      chosen: a finished stage of a run.
      dataset: with the run's classes in their order.
    """
    return trained.evaluator(chosen, dataset).run().metrics
