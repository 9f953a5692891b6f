"""Masks of objects as COCO's compressed run lengths: text that holds one mask over the whole stored image. TensorFlow-free.

    mask = from_segmentation([[10, 10, 30, 10, 30, 25]], height=40, width=60, element='annotations[3].segmentation')
    pixels([mask], height=40, width=60).shape     # (1, 40, 60)

N masks of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from stagetrain.data.annotation import Unusable

_EXPECTED = 'expected polygons ([[x, y, x, y, x, y, ...], ...]) or run lengths ({"size": [height, width], "counts": ...})'


def from_segmentation(segmentation: Any, height: int, width: int, element: str) -> str:
    """Returns the mask of COCO's `segmentation`: the union of polygons, or run lengths, compressed or not.

    Args:
      segmentation: as it stands in the JSON.
      height: of the stored image, in pixels.
      width: of the stored image, in pixels.
      element: its place in its file, for the error.

    Raises:
      Unusable: it is neither, is of another size, or covers nothing.
    """
    runs = _runs(segmentation, height, width, element)
    if not coco_mask.area(runs):
        raise Unusable(element, 'the mask covers no pixel')
    return runs['counts'].decode('ascii')


def _runs(segmentation: Any, height: int, width: int, element: str) -> dict[str, Any]:
    if isinstance(segmentation, list):
        return _runs_of_polygons(segmentation, height, width, element)
    counts = segmentation.get('counts') if isinstance(segmentation, dict) else None
    if isinstance(counts, list) and all(type(count) is int for count in counts):
        lengths = counts
    elif isinstance(counts, str) and counts.isascii():
        lengths = _lengths(counts.encode('ascii'))
    else:
        raise Unusable(element, f'{_EXPECTED}, found {str(segmentation)[:60]}')
    # pycocotools shows whatever lay in memory where run lengths are too short.
    if segmentation.get('size') != [height, width] or min(lengths, default=0) < 0 or sum(lengths) != height * width:
        found = f'run lengths over {sum(lengths)} pixels of size {segmentation.get("size")}'
        raise Unusable(element, f'{found}; the image has {height * width} of size {[height, width]}')
    return coco_mask.frPyObjects({'size': [height, width], 'counts': lengths}, height, width)


def _runs_of_polygons(polygons: list[Any], height: int, width: int, element: str) -> dict[str, Any]:
    for polygon in polygons:
        is_flat = isinstance(polygon, list) and all(type(value) in (int, float) and abs(value) < 1e7 for value in polygon)
        if not is_flat or len(polygon) < 6 or len(polygon) % 2:
            raise Unusable(element, f'{_EXPECTED}, found {str(polygon)[:60]}')
    if not polygons:
        raise Unusable(element, f'{_EXPECTED}, found an empty list')
    return coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))


def _lengths(counts: bytes) -> list[int]:
    """Returns the run lengths in COCO's compressed text, as `rleFrString` of `maskApi.c` reads it.

    Five bits a character, the lowest first; from the fourth length on, differences to the last but one.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts:
        part = character - 48
        value |= (part & 0x1F) << shift
        shift += 5
        if part & 0x20:
            continue
        if part & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    return lengths


def pixels(masks: Sequence[str], height: int, width: int) -> np.ndarray:
    """Returns uint8 `[N, height, width]`: 1 where a mask is."""
    if not masks:
        return np.zeros([0, height, width], np.uint8)
    return np.ascontiguousarray(np.moveaxis(coco_mask.decode([as_coco(mask, height, width) for mask in masks]), -1, 0))


def as_coco(mask: str, height: int, width: int) -> dict[str, Any]:
    """Returns COCO's `segmentation` of a mask."""
    return {'size': [height, width], 'counts': mask}


def from_pixels(found: np.ndarray) -> list[str]:
    """Returns the masks of uint8 `[N, height, width]`."""
    return [coco_mask.encode(np.asfortranarray(one))['counts'].decode('ascii') for one in found]
