"""Masks in records of the Object Detection API: a PNG for each object, or numbers over the whole image. TensorFlow-free.

image/object/mask     PNG of the image's size for each object, in which what is not 0 belongs to it; or one float for each
                      pixel of each object, row by row
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image

from stagetrain.data import masks
from stagetrain.data.annotation import Kind, Unusable

FEATURE = 'image/object/mask'
_EXPECTED = f'expected a mask for each object in {FEATURE}: PNGs, or numbers'


def mask_of(values: Sequence[Any], index: int, count: int, size: tuple[int, int], element: str) -> str:
    """Returns an object's mask, as `masks` has them.

    Args:
      values: of the record's feature, PNGs or floats.
      index: of the object.
      count: objects of the record.
      size: height and width of the image.
      element: the mask's place in its file, for the error.

    Raises:
      Unusable: There is none, it is of another size, no PNG, or covers nothing.
    """
    if not values:
        raise Unusable(element, f'{_EXPECTED}; found none', Kind.FORM)
    found = (
        _decoded(values, index, count, size, element)
        if isinstance(values[0], bytes)
        else _numbers(values, index, count, size, element)
    )
    if not found.any():
        raise Unusable(element, 'the mask covers no pixel')
    return masks.from_pixels((found > 0).astype(np.uint8)[np.newaxis])[0]


def _decoded(values: Sequence[bytes], index: int, count: int, size: tuple[int, int], element: str) -> np.ndarray:
    if len(values) != count:
        raise Unusable(element, f'{_EXPECTED}; found {len(values)} PNGs for {count} objects', Kind.FORM)
    try:
        with PIL.Image.open(io.BytesIO(values[index]), formats=('PNG',)) as image:
            if (image.height, image.width) != size:
                raise Unusable(
                    element, f'the mask has {image.width}x{image.height} pixels, the image {size[1]}x{size[0]}', Kind.SIZE
                )
            return np.asarray(image.convert('L') if image.mode not in ('L', 'P', '1', 'I', 'I;16') else image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise Unusable(element, f'{_EXPECTED}; a PNG cannot be read: {error}', Kind.FORM) from error


def _numbers(values: Sequence[float], index: int, count: int, size: tuple[int, int], element: str) -> np.ndarray:
    length = size[0] * size[1]
    if len(values) != count * length or not isinstance(values[0], float):
        found = f'{len(values)} values of type {type(values[0]).__name__}'
        raise Unusable(element, f'expected {count} masks of {length} floats; found {found}', Kind.FORM)
    return np.asarray(values[index * length : (index + 1) * length]).reshape(size)
