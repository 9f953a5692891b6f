"""Detections on images of the user's own, with a run's checkpoint: pictures with boxes drawn, and COCO JSON.

For example:

    detect_images(run_dir, stage=None, images=[Path('a.jpg')], out=Path('out'))
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from stagetrain.inference import request as requests
from stagetrain.inference import results, trained
from stagetrain.inference.request import DetectionRequest


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


def carry_out(request: DetectionRequest) -> list[pathlib.Path]:
    """Detects and writes; returns the pictures' paths, and raises `BadInput` when they cannot be written."""
    return results.write(request, trained.evaluator(request.chosen, request.dataset).detect())
