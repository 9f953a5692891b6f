"""One image with its boxes, as every reader gives it and everything else takes it. TensorFlow-free.

A reader of a data format is a function

    read(source: schema.DataSource, classes: tuple[str, ...], max_image_pixels: int) -> tuple[list[Example], list[BadItem]]

It never changes what it reads: a box or an image that cannot be used becomes a `BadItem` with the file, the element and the
reason, and is left out; a `BadItem` of kind `Kind.NOTE` is no fault and leaves nothing out. Legend: N boxes of an image.

    Example('0001', 'JPEGImages/0001.jpg', height=480, width=640, boxes_yxyx_px=[[177, 260, 376, 491]], classes=[2], ...)
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from stagetrain.errors import DataError

BOX_TOLERANCE_PX = 1.0
"""A box that leaves the image by no more is clipped, as rounding does that; one that leaves it further is refused."""
LARGEST_SHARE = 2.0
"""A coordinate from 0 to 1 may leave the image, but not by its size."""
NUM_CLASSES_SHOWN = 20


Evidence = tuple[str | float, ...]


class Kind:
    """Kinds of faults, by which reports count them; readers of other formats may name their own."""

    CLASS = 'unknown class'
    LABEL = 'unknown class id'
    INVERTED = 'inverted box'
    NO_AREA = 'box without area'
    OUTSIDE = 'box outside its image'
    NOT_FINITE = 'coordinate that is not finite'
    IN_PIXELS = 'pixel coordinates where 0 to 1 is expected'
    NOT_A_NUMBER = 'text where a number is expected'
    FORM = 'entry of another form'
    FIELDS = 'line with another number of fields'
    ENCODING = 'text that is not UTF-8'
    REPEATED = 'repeated entry'
    MISSING = 'missing file'
    LINK = 'broken link'
    PLACE = 'name that leads out of the data set'
    SIZE = 'stated size that contradicts the image'
    LARGE = 'image with too many pixels'
    IMAGE = 'unusable image file'
    RECORD = 'damaged record'
    UNREADABLE = 'data set that cannot be read'
    NOTHING_TO_LEARN = 'data set in which nothing can be learned'
    OTHER = 'other fault'
    NOTE = 'note'
    """No fault: something was read in another way than its file says."""


BOX_KINDS = (Kind.INVERTED, Kind.NO_AREA, Kind.OUTSIDE)
"""What is wrong with numbers that are numbers; the evidence is ymin, xmin, ymax, xmax, height, width."""


class Unusable(DataError):
    """One box or image cannot be used; readers turn it into a `BadItem`.

    Attributes:
      element: Its place in its file.
      reason: What is wrong: found, expected, remedy.
      kind: One of `Kind`.
      evidence: The values that are wrong, from which `stagetrain.data.causes` works out why.
    """

    def __init__(self, element: str, reason: str, kind: str = Kind.OTHER, evidence: Evidence = ()) -> None:
        super().__init__(f'{element}: {reason}' if element else reason)
        self.element = element
        self.reason = reason
        self.kind = kind
        self.evidence = evidence

    def at(self, file: str, element: str | None = None) -> BadItem:
        """Returns the fault in `file`, at its own element or another."""
        return BadItem(file, self.element if element is None else element, self.reason, self.kind, self.evidence)


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


@dataclasses.dataclass(frozen=True)
class BadItem:
    """A box or an image that cannot be used; `element` is a place in `file`: `object[3]/bndbox` (from 1), `line 7`, or ''.

    `kind` and `evidence` are those of `Unusable`.
    """

    file: str
    element: str
    reason: str
    kind: str = Kind.OTHER
    evidence: Evidence = dataclasses.field(default=(), compare=False, repr=False)

    def __str__(self) -> str:
        return ': '.join(part for part in (self.file, self.element, self.reason) if part)

    @property
    def order(self) -> tuple[list[str], str]:
        """Returns what to sort by: file and element, whose numbers count as numbers, then the reason."""
        parts = re.split(r'(\d+)', f'{self.file}\0{self.element}')
        return [part.zfill(12) if part.isdecimal() else part for part in parts], self.reason


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
    notes: tuple[BadItem, ...] = ()
    """What was read in another way than its file says; of kind `Kind.NOTE`."""
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
        raise Unusable(element, f'coordinates must be finite, found {_shown(box_yxyx_px)}', Kind.NOT_FINITE)
    ymin, xmin, ymax, xmax = box_yxyx_px
    evidence = (*box_yxyx_px, height, width)
    expected = f'expected xmin < xmax and ymin < ymax, found {_shown(box_yxyx_px)}'
    if ymax < ymin or xmax < xmin:
        raise Unusable(element, f'the box is inverted: {expected}', Kind.INVERTED, evidence)
    if min(ymin, xmin) < -BOX_TOLERANCE_PX or ymax > height + BOX_TOLERANCE_PX or xmax > width + BOX_TOLERANCE_PX:
        reason = f'the box leaves the image of {width}x{height} pixels: expected edges inside, found {_shown(box_yxyx_px)}'
        raise Unusable(element, reason, Kind.OUTSIDE, evidence)
    clipped = (max(ymin, 0.0), max(xmin, 0.0), min(ymax, float(height)), min(xmax, float(width)))
    # Compared as float32, for so they are stored: a width that rounds to nothing is nothing.
    edges = np.asarray(clipped, np.float32)
    if edges[2] <= edges[0] or edges[3] <= edges[1]:
        raise Unusable(element, f'the box has no area: {expected}', Kind.NO_AREA, evidence)
    return clipped


def scaled(
    box_yxyx_norm: tuple[float, float, float, float], height: int, width: int, element: str
) -> tuple[float, float, float, float]:
    """Returns in pixels a box that is given in shares of the image.

    Args:
      box_yxyx_norm: ymin, xmin, ymax, xmax, 0 to 1 of height and width.
      height: Of the image, in pixels.
      width: Of the image, in pixels.
      element: The box's place in its file, for the error.

    Raises:
      Unusable: The numbers are so large that they must be pixels.
    """
    if max(box_yxyx_norm) > LARGEST_SHARE:
        reason = f'expected edges from 0 to 1 of height and width, found {_shown(box_yxyx_norm)}: are these pixels?'
        raise Unusable(element, reason, Kind.IN_PIXELS, (*box_yxyx_norm, height, width))
    ymin, xmin, ymax, xmax = box_yxyx_norm
    return ymin * height, xmin * width, ymax * height, xmax * width


def class_id(name: str, classes: tuple[str, ...], element: str) -> int:
    """Returns the id of a class name, from 1.

    Raises:
      Unusable: The name is not one of `classes`.
    """
    if name not in classes:
        raise Unusable(element, f"class '{name}' is not in data.classes ({_few(classes)})", Kind.CLASS, (name,))
    return classes.index(name) + 1


def _few(classes: tuple[str, ...]) -> str:
    rest = len(classes) - NUM_CLASSES_SHOWN
    return ', '.join(classes[:NUM_CLASSES_SHOWN]) + (f' and {rest} more' if rest > 0 else '') or 'none are given'


def _shown(box_yxyx_px: tuple[float, float, float, float]) -> str:
    return ' '.join(f'{name}={value:g}' for name, value in zip(('ymin', 'xmin', 'ymax', 'xmax'), box_yxyx_px, strict=True))
