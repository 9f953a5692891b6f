"""Detections on images in memory or on disk, with a finished stage: the graph is built once for each batch size.

    detection = ImageDetection(choice.choose(run_dir, None), score_threshold=0.3)
    found = detection(pixels)               # or a path, or a list of either

D detections of an image.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from official.vision.ops.mask_ops import paste_instance_masks

from stagetrain.data import images as image_files
from stagetrain.errors import DataError
from stagetrain.evaluation.evaluate import Inferred, build_inference
from stagetrain.images.geometry import Geometry, geometry_of, plain_view
from stagetrain.images.network_input import Batch
from stagetrain.inference import trained
from stagetrain.inference.choice import Chosen
from stagetrain.stages.undisturbed import undisturbed

Picture = NDArray[np.uint8] | str | os.PathLike[str]
"""uint8 `[height, width, 3]` RGB, or the path of a JPEG, PNG or BMP file."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found in one image, by falling score."""

    boxes_yxyx_px: NDArray[np.float32]
    """float32 `[D, 4]`: ymin, xmin, ymax, xmax in pixels of the given image, upright."""
    scores: NDArray[np.float32]
    """float32 `[D]`."""
    classes: NDArray[np.int32]
    """int32 `[D]`, from 1."""
    names: tuple[str, ...]
    """The class of each, by name."""
    masks: NDArray[np.uint8] | None = None
    """uint8 `[D, height, width]`, 1 where the object is; None where the detector predicts none."""

    def __len__(self) -> int:
        return len(self.scores)

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """Returns COCO result records: `bbox` is (x, y, width, height) in pixels, `category_id` the class from 1."""
        return [
            {
                'image_id': image_id,
                'category_id': int(category),
                'bbox': [float(xmin), float(ymin), float(xmax - xmin), float(ymax - ymin)],
                'score': float(score),
            }
            for (ymin, xmin, ymax, xmax), score, category in zip(self.boxes_yxyx_px, self.scores, self.classes, strict=True)
        ]


class ImageDetection:
    """Detects with the weights of a finished stage."""

    def __init__(self, chosen: Chosen, *, score_threshold: float = 0.0) -> None:
        """Stores what is to be used; weights are read at the first call.

        Args:
          chosen: a finished stage of a run.
          score_threshold: detections below this score are left out.
        """
        self._chosen, self._threshold = chosen, score_threshold

    @functools.cached_property
    def network(self) -> Any:
        """The stage's network with its weights."""
        with undisturbed():
            return trained.load_detector(self._chosen)

    def __call__(self, images: Picture | Sequence[Picture]) -> Found | list[Found]:
        """Returns what is found in an image, or in each of a sequence.

        Raises:
          DataError: a file is no image that can be used, or an array is not uint8 `[height, width, 3]`.
        """
        if isinstance(images, str | os.PathLike | np.ndarray):
            return self._detect([images], 1)[0]
        size = min(self._chosen.pipeline.evaluation.batch_size, max(len(images), 1))
        return [found for first in range(0, len(images), size) for found in self._detect(images[first : first + size], size)]

    def _detect(self, images: Sequence[Picture], batch_size: int) -> list[Found]:
        pictures = [self._pixels(image) for image in images]
        filled = [*pictures, *[pictures[-1]] * (batch_size - len(pictures))]  # One graph serves the last batch too.
        inputs = [self._geometry.plain_input(tf.constant(picture)) for picture in filled]
        batch = tf.nest.map_structure(lambda *parts: tf.stack(parts), *inputs)
        outputs: Inferred = tf.nest.map_structure(lambda value: value.numpy(), self._infer(batch))
        return [self._found(outputs, row, picture) for row, picture in enumerate(pictures)]

    @functools.cached_property
    def _infer(self) -> Callable[[Batch], Inferred]:
        return build_inference(self.network, can_detect=True, num_proposals=0)

    @functools.cached_property
    def _geometry(self) -> Geometry:
        return geometry_of(self._chosen.model, training=False)

    def _pixels(self, image: Picture) -> NDArray[np.uint8]:
        if isinstance(image, np.ndarray):
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or not image.size:
                raise DataError(f'found an array {image.dtype} of shape {image.shape}; expected uint8 [height, width, 3], RGB')
            return image
        path = pathlib.Path(image)
        try:
            image_files.usable(path, self._chosen.pipeline.data.max_image_pixels)
            data = path.read_bytes()
            decoded = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
        except (DataError, OSError, tf.errors.OpError) as error:
            raise DataError(f'{path}: {getattr(error, "message", None) or error}') from error
        return image_files.upright(decoded, image_files.orientation(data))

    def _found(self, outputs: Inferred, row: int, picture: NDArray[np.uint8]) -> Found:
        count = int(outputs['num_valid'][row])
        kept = np.flatnonzero(outputs['scores'][row, :count] >= self._threshold)
        size = np.array(picture.shape[:2], np.float32)
        shown = self._geometry.shown_size(plain_view(), tf.constant(size)).numpy()
        boxes = outputs['boxes'][row, kept] / np.tile(shown / size, 2)
        classes, names = outputs['classes'][row, kept], self._chosen.pipeline.data.classes
        masks = None
        if 'masks' in outputs:
            xywh = np.concatenate([boxes[:, 1::-1], boxes[:, :1:-1] - boxes[:, 1::-1]], axis=1)
            pasted = paste_instance_masks(outputs['masks'][row, kept], xywh, *picture.shape[:2])
            masks = np.asarray(pasted, np.uint8).reshape(-1, *picture.shape[:2])
        called = tuple(names[number - 1] for number in classes)
        return Found(boxes.astype(np.float32), outputs['scores'][row, kept], classes.astype(np.int32), called, masks)
