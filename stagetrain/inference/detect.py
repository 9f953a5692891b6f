"""Detections on images of the user's own, with a run's checkpoint: pictures with boxes drawn, and COCO JSON.

For example:

    detect_images(run_dir, stage=None, images=[Path('a.jpg')], out=Path('out'))
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from stagetrain.devices import setup
from stagetrain.evaluation.evaluate import Evaluator
from stagetrain.images.geometry import geometry_of
from stagetrain.images.loading import Images
from stagetrain.inference import request as requests
from stagetrain.inference import results
from stagetrain.inference.choice import Chosen
from stagetrain.inference.request import Request
from stagetrain.stages.network import build_network
from stagetrain.weights import assign


def detect_images(
    run_dir: pathlib.Path,
    stage: str | None,
    images: Sequence[str | os.PathLike[str]],
    out: pathlib.Path,
    annotations: pathlib.Path | None = None,
) -> list[pathlib.Path]:
    """Draws detections on images and writes them as COCO JSON; see `request.make`.

    Returns:
      The pictures' paths.

    Raises:
      BadInput: an image or the annotations cannot be used, the run has no such finished stage, or `out` cannot be written.
    """
    return carry_out(requests.make(run_dir, stage, images, out, annotations))


def carry_out(request: Request) -> list[pathlib.Path]:
    """Detects and writes; returns the pictures' paths, and raises `BadInput` when they cannot be written."""
    detector = load_detector(request.chosen)
    shown = Images(request.dataset, geometry_of(detector.model, training=False), include_difficult=True)
    batch_size = min(request.chosen.pipeline.evaluation.batch_size, len(shown))
    return results.write(request, Evaluator(detector, shown, batch_size=batch_size, can_detect=True).detect())


def load_detector(chosen: Chosen) -> Any:
    """Returns the detector of a finished stage, with its weights."""
    pipeline = chosen.pipeline
    setup.configure(pipeline.runtime)
    detector = build_network(pipeline, chosen.stage, tuple(chosen.origins))
    assign.initialise(detector.modules, chosen.origins)
    return detector
