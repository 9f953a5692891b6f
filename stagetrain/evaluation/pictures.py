"""A sheet of validation images with what a finished stage detected on them, from the files that it left. TensorFlow-free.

sheet = detections_sheet(run, 'detector_2')
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from stagetrain import files
from stagetrain.data import images, user_cache
from stagetrain.data.annotation import Dataset
from stagetrain.data.index import load_dataset
from stagetrain.data.numbering import DETECTIONS_FILE, IMAGES_FILE
from stagetrain.evaluation.metrics import Detections
from stagetrain.evaluation.summary import RunSummary
from stagetrain.images import drawing
from stagetrain.pipeline.rundir import RunDirectory

NUM_IMAGES = 4
MIN_SCORE = 0.5
LEGIBLE_PX = 360
"""The shorter side that images are enlarged to, for labels to be legible."""
LARGEST_PX = 2000
"""What the longer side is not enlarged beyond: 4000 x 3 pixels would become a picture of 480,000 x 360."""


def detections_sheet(summary: RunSummary, stage_id: str) -> Image.Image | None:
    """Returns images spread evenly over the validation set, with detections and, dashed, the truth.

    Returns:
      An RGB picture; None when the stage left no detections.

    Raises:
      DataError: the validation set cannot be read any more, or is another one.
      DamagedFile: the stage's detections cannot be read.
    """
    folder = RunDirectory(summary.path).stage(stage_id)
    if not (folder / DETECTIONS_FILE).is_file():
        return None
    data = summary.pipeline.data
    cache = RunDirectory(summary.path).cache
    dataset = load_dataset(data.validation, data, 'validation', cache, user_cache_dir=user_cache.folder())
    skeleton = files.read_json(folder / IMAGES_FILE) if (folder / IMAGES_FILE).is_file() else None
    found = Detections.from_coco(files.read_json(folder / DETECTIONS_FILE), dataset, skeleton)
    chosen = np.unique(np.linspace(0, len(dataset.examples) - 1, NUM_IMAGES).round().astype(int))
    return drawing.contact_sheet([_picture(dataset, found, int(index)) for index in chosen], columns=2)


def _picture(dataset: Dataset, found: Detections, index: int) -> Image.Image:
    example = dataset.examples[index]
    rows = found.image_index == index
    return drawing.draw_detections(
        images.picture(example.read_bytes()),
        found.boxes_yxyx_px[rows],
        found.classes[rows],
        found.scores[rows],
        dataset.classes,
        MIN_SCORE,
        truth_yxyx_px=example.boxes_yxyx_px,
        masks=found.mask_pixels(dataset, index),
        scale=_scale(example.height, example.width),
    )


def _scale(height: int, width: int) -> float:
    return max(1.0, min(LEGIBLE_PX / min(height, width), LARGEST_PX / max(height, width)))
