"""How good a run's detector is on any data set: `stagetrain eval RUN_DIR --data PATH`.

metrics = measure(run_dir, stage=None, dataset=dataset)      # COCO's AP and AR, Pascal VOC's AP
"""

from __future__ import annotations

import pathlib

from stagetrain.config import load, schema
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.evaluation.metrics import Metrics
from stagetrain.images.geometry import geometry_of
from stagetrain.images.loading import Images
from stagetrain.inference.detect import load_detector


def read_for(run_dir: pathlib.Path, source: schema.DataSource) -> Dataset:
    """Reads a data set as a run's own: with its classes, `on_bad` and largest image.

    Raises:
      BadInput: it is no run directory, or the data set cannot be used.
    """
    data = load.load_resolved(run_dir / 'run.yaml').pipeline.data
    return load_dataset(source, data, 'validation', None)


def measure(run_dir: pathlib.Path, stage: str | None, dataset: Dataset) -> Metrics:
    """Detects on every image of a data set and measures.

    Args:
      run_dir: a run directory with a finished stage.
      stage: whose checkpoint is used; None: the pipeline's last.
      dataset: with the run's classes in their order.

    Raises:
      BadInput: the run has no such finished stage, or it cannot detect by itself.
    """
    pipeline = load.load_resolved(run_dir / 'run.yaml').pipeline
    detector = load_detector(pipeline, run_dir, stage)
    images = Images(dataset, geometry_of(detector.model, training=False), include_difficult=True)
    batch_size = min(pipeline.evaluation.batch_size, len(images))
    return Evaluator(detector, images, batch_size=batch_size, can_detect=True, voc_ap=True).run().metrics
