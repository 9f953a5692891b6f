"""What `stagetrain detect` leaves: pictures with detections drawn, and COCO JSON. TensorFlow-free.

pictures = write(request, detections)
"""

from __future__ import annotations

import io
import pathlib

from stagetrain import files, outputs
from stagetrain.data import images as image_files
from stagetrain.data.numbering import DETECTIONS_FILE, IMAGES_FILE
from stagetrain.evaluation.metrics import Detections
from stagetrain.images.drawing import draw_detections
from stagetrain.inference.request import DetectionRequest


def write(request: DetectionRequest, found: Detections) -> list[pathlib.Path]:
    """Writes a request's pictures, `detections.json`, and `images.json`, which lists the images by their ids.

    Returns:
      The pictures' paths, in the order of the images.

    Raises:
      BadInput: they cannot be written; what is there by then is whole.
    """
    out, dataset = request.out, request.dataset
    with outputs.explained('--out', out.path):
        pictures = [out.write(name, _picture(request, found, index)) for index, name in enumerate(request.pictures)]
        out.write(IMAGES_FILE, files.as_bytes(files.json_text(request.numbering.skeleton(dataset))))
        out.write(DETECTIONS_FILE, files.as_bytes(files.json_text(found.to_coco(dataset, request.numbering))))
    return pictures


def _picture(request: DetectionRequest, found: Detections, index: int) -> bytes:
    dataset = request.dataset
    mine = found.image_index == index
    drawn = draw_detections(
        image_files.picture(dataset.examples[index].read_bytes()),
        found.boxes_yxyx_px[mine],
        found.classes[mine],
        found.scores[mine],
        dataset.classes,
        masks=found.mask_pixels(dataset, index),
    )
    png = io.BytesIO()
    drawn.save(png, format='png')
    return png.getvalue()
