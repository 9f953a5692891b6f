"""One image with its boxes, as every reader gives it and everything else takes it. TensorFlow-free.

A reader of a data format is a function

    read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]

It never changes what it reads: a box or an image that cannot be used becomes a `BadItem` with the file, the element and the
reason, and is left out. Legend: N boxes of an image.

    Example('0001', 'JPEGImages/0001.jpg', height=480, width=640, boxes_yxyx_px=[[177, 260, 376, 491]], classes=[2], ...)
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Mapping

import numpy as np

from stagetrain.errors import DataError

BOX_TOLERANCE_PX = 1.0
"""A box that leaves the image by no more is clipped, as rounding does that; one that leaves it further is refused."""


class Unusable(DataError):
    """One box or image cannot be used; readers turn it into a `BadItem`."""

    def __init__(self, element: str, reason: str) -> None:
        super().__init__(f'{element}: {reason}' if element else reason)
        self.element = element
        self.reason = reason


@dataclasses.dataclass(frozen=True, eq=False, slots=True)
class Example:
    """An image and its objects.

    Attributes:
      image_id: Unique in its data set, independent of where the files lie.
      path: The file that holds the image's encoded bytes.
      offset: First byte of the image inside `path`; None when the whole file is the image.
      length: Number of bytes from `offset`; None when the whole file is the image.
      height: Of the stored image, in pixels.
      width: Of the stored image, in pixels.
      boxes_yxyx_px: float32 `[N, 4]`: ymin, xmin, ymax, xmax in pixels of the stored image, as edges (no +1).
      classes: int32 `[N]`, from 1 in the order of the configured class names.
      difficult: bool `[N]`: hard to recognise by the annotator's word; 'ignore' in evaluation.
      is_crowd: bool `[N]`: one box around a group; 'ignore' in evaluation.
      masks: The objects' masks, `N` texts as `stagetrain.data.masks` has them; None: they were not read.
    """

    image_id: str
    path: str
    offset: int | None
    length: int | None
    height: int
    width: int
    boxes_yxyx_px: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    is_crowd: np.ndarray
    masks: tuple[str, ...] | None = None

    def select(self, kept: np.ndarray) -> Example:
        """Returns the image with some of its objects: those where `kept`, bool `[N]`, is true."""
        columns = {name: getattr(self, name)[kept] for name in ('boxes_yxyx_px', 'classes', 'difficult', 'is_crowd')}
        masks = None if self.masks is None else tuple(itertools.compress(self.masks, kept))
        return dataclasses.replace(self, **columns, masks=masks)

    def read_bytes(self) -> bytes:
        """Returns the encoded image.

        Raises:
          DataError: The file is gone, unreadable or shorter than it was.
        """
        try:
            if self.offset is None or self.length is None:
                return pathlib.Path(self.path).read_bytes()
            with open(self.path, 'rb') as file:
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise DataError(f"{self.path}: cannot read image '{self.image_id}': {error.strerror}") from error
        if len(data) != self.length:
            raise DataError(
                f"{self.path}: image '{self.image_id}' should have {self.length} bytes at {self.offset}, found {len(data)}: "
                'the file has changed since it was indexed'
            )
        return data


@dataclasses.dataclass(frozen=True, order=True)
class BadItem:
    """A box or an image that cannot be used; `element` is a place in `file`: `object[3]/bndbox` (from 1), `line 7`, or ''."""

    file: str
    element: str
    reason: str

    def __str__(self) -> str:
        return ': '.join(part for part in (self.file, self.element, self.reason) if part)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """The usable images of a data set, sorted by `image_id`, and what was left out.

    `digest` is a SHA-256 over all that training sees (class names, ids, sizes, boxes, flags, image bytes), not over places.
    """

    name: str
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    bad: tuple[BadItem, ...]
    digest: str
    items: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """`image_id` -> short digests of the image and of its annotation, so that a change can be told by names."""
    ignored: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Name of an ignored class -> its objects, which were left out."""

    @property
    def num_boxes(self) -> int:
        """Returns the number of usable boxes in all images."""
        return sum(len(example.classes) for example in self.examples)


def usable_box(
    box_yxyx_px: tuple[float, float, float, float], height: int, width: int, element: str
) -> tuple[float, float, float, float]:
    """Returns the box clipped to the image.

    Args:
      box_yxyx_px: ymin, xmin, ymax, xmax in pixels, edges.
      height: Of the image, in pixels.
      width: Of the image, in pixels.
      element: The box's place in its file, for the error.

    Raises:
      Unusable: A coordinate is not finite, the box is inverted or has no area, or it leaves the image by more than
        `BOX_TOLERANCE_PX`.
    """
    if not all(map(math.isfinite, box_yxyx_px)):
        raise Unusable(element, f'coordinates must be finite, found {_shown(box_yxyx_px)}')
    ymin, xmin, ymax, xmax = box_yxyx_px
    if ymax < ymin or xmax < xmin:
        raise Unusable(element, f'the box is inverted: expected xmin < xmax and ymin < ymax, found {_shown(box_yxyx_px)}')
    if min(ymin, xmin) < -BOX_TOLERANCE_PX or ymax > height + BOX_TOLERANCE_PX or xmax > width + BOX_TOLERANCE_PX:
        raise Unusable(element, f'the box leaves the image of {width}x{height} pixels: {_shown(box_yxyx_px)}')
    clipped = (max(ymin, 0.0), max(xmin, 0.0), min(ymax, float(height)), min(xmax, float(width)))
    # Compared as float32, for so they are stored: a width that rounds to nothing is nothing.
    edges = np.asarray(clipped, np.float32)
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise Unusable(element, f'the box has no area: {_shown(box_yxyx_px)}')
    return clipped


def class_id(name: str, classes: tuple[str, ...], element: str) -> int:
    """Returns the id of a class name, from 1.

    Raises:
      Unusable: The name is not one of `classes`.
    """
    if name not in classes:
        raise Unusable(element, f"class '{name}' is not in data.classes ({', '.join(classes)})")
    return classes.index(name) + 1


def _shown(box_yxyx_px: tuple[float, float, float, float]) -> str:
    return ' '.join(f'{name}={value:g}' for name, value in zip(('ymin', 'xmin', 'ymax', 'xmax'), box_yxyx_px, strict=True))
