"""The detector of a finished stage, and what runs it over images.

detector = load_detector(choice.choose(run_dir, stage=None))
"""

from __future__ import annotations

from typing import Any

from stagetrain.config import strategies
from stagetrain.data.annotation import Dataset
from stagetrain.devices import setup
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.images.loading import plain_images
from stagetrain.inference.choice import Chosen
from stagetrain.stages.network import loaded_network


def load_detector(chosen: Chosen) -> Any:
    """Returns the detector of a finished stage, with its weights."""
    with setup.configure(strategies.for_one_network(chosen.pipeline.runtime)).scope():
        return loaded_network(chosen.pipeline, chosen.stage, chosen.origins)


def evaluator(chosen: Chosen, dataset: Dataset) -> Evaluator:
    """Returns what detects on the images of any data set with a finished stage, and measures."""
    detector = load_detector(chosen)
    images = plain_images(dataset, detector.model)
    settings = chosen.pipeline.evaluation
    batch_size = min(settings.batch_size, len(images))
    return Evaluator(
        detector, images, batch_size=batch_size, can_detect=True, voc_ap=True, max_detections=settings.max_detections
    )
