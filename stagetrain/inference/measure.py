"""How good a run's detector is on any data set: `stagetrain eval RUN_DIR --data PATH`.

metrics = measure(choice.choose(run_dir, stage=None), dataset)      # COCO's AP and AR, Pascal VOC's AP
"""

from __future__ import annotations

from stagetrain.data.annotation import Dataset
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.evaluation.metrics import Metrics
from stagetrain.images.geometry import geometry_of
from stagetrain.images.loading import Images
from stagetrain.inference.choice import Chosen
from stagetrain.inference.detect import load_detector


def measure(chosen: Chosen, dataset: Dataset) -> Metrics:
    """Detects on every image of a data set and measures.

    Args:
      chosen: a finished stage of a run.
      dataset: with the run's classes in their order.
    """
    detector = load_detector(chosen)
    images = Images(dataset, geometry_of(detector.model, training=False), include_difficult=True)
    batch_size = min(chosen.pipeline.evaluation.batch_size, len(images))
    return Evaluator(detector, images, batch_size=batch_size, can_detect=True, voc_ap=True).run().metrics
