"""Why boxes are faulty: which other reading of their four numbers puts them all inside their images.

An exporter that writes x, y, width, height where corners are read makes most boxes inverted or leave their images, and some
pass by chance. So every hypothesis is tried on all boxes of the data set, faulty or not, and counts only if nearly all fit.

    likely(boxes_yxyx_px, sizes_hw, is_faulty, CORNERS)
    # '48 of 50 boxes do not fit as x1, y1, x2, y2, and all fit as x, y, width, height: the numbers look like that'

M boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from stagetrain.data.annotation import BOX_TOLERANCE_PX
from stagetrain.data.objects import SMALLEST_AREA_PX

CORNERS = 'x1, y1, x2, y2'
SIZES = 'x, y, width, height'
CENTRES = 'the centre x, y and width, height'
_SHARES = ' from 0 to 1'
SYSTEMATIC = 0.1
"""Of all boxes: where fewer are faulty, single slips are likelier than another form."""
MIN_FAULTY = 3
_FITTING = 0.97
"""Of all boxes: a hypothesis may miss the slips that every large data set has."""
_NEARLY_ONE = 1.001


@dataclasses.dataclass(frozen=True)
class _Reading:
    """Another meaning of a box's four numbers as they are written, float64 `[M, 4]`, as xmin, ymin, xmax, ymax in pixels."""

    name: str
    edges: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _columns(*order: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda numbers, _: numbers[:, list(order)]


def _from_sizes(numbers: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.concatenate([numbers[:, :2], numbers[:, :2] + numbers[:, 2:]], 1)


def _from_centre(numbers: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.concatenate([numbers[:, :2] - numbers[:, 2:] / 2, numbers[:, :2] + numbers[:, 2:] / 2], 1)


def _sorted(numbers: np.ndarray, _: np.ndarray) -> np.ndarray:
    low, high = np.minimum(numbers[:, :2], numbers[:, 2:]), np.maximum(numbers[:, :2], numbers[:, 2:])
    return np.concatenate([low, high], 1)


def _normalised(reading: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Takes the numbers for shares of the image; of numbers above 1 nothing fits."""

    def edges(numbers: np.ndarray, sizes_hw: np.ndarray) -> np.ndarray:
        scale = np.concatenate([sizes_hw[:, ::-1], sizes_hw[:, ::-1]], 1)
        found = reading(numbers, sizes_hw) * scale
        found[(numbers > _NEARLY_ONE).any(1)] = np.nan
        return found

    return edges


# The likelier first: of those that fit equally well, the first counts.
_READINGS = (
    _Reading(CORNERS + _SHARES, _normalised(_columns(0, 1, 2, 3))),
    _Reading(SIZES + _SHARES, _normalised(_from_sizes)),
    _Reading(CENTRES + _SHARES, _normalised(_from_centre)),
    _Reading(CORNERS, _columns(0, 1, 2, 3)),
    _Reading(SIZES, _from_sizes),
    _Reading(CENTRES, _from_centre),
    _Reading('x1, x2, y1, y2', _columns(0, 2, 1, 3)),
    _Reading('y1, x1, y2, x2', _columns(1, 0, 3, 2)),
    _Reading('y1, y2, x1, x2', _columns(2, 0, 3, 1)),
    _Reading('y, x, height, width', lambda numbers, sizes: _from_sizes(numbers[:, [1, 0, 3, 2]], sizes)),
    _Reading('x, y, height, width', lambda numbers, sizes: _from_sizes(numbers[:, [0, 1, 3, 2]], sizes)),
    _Reading('x2, y2, x1, y1', _columns(2, 3, 0, 1)),
    _Reading('two opposite corners in any order', _sorted),
)


def likely(boxes_yxyx_px: np.ndarray, sizes_hw: np.ndarray, is_faulty: np.ndarray, form: str) -> str:
    """Returns the likely cause of faulty boxes in a sentence, '' where none is found.

    Args:
      boxes_yxyx_px: float64 `[M, 4]`, all boxes as they were read, faulty or not.
      sizes_hw: float64 `[M, 2]`, of their images.
      is_faulty: bool `[M]`.
      form: As what the four numbers were read: the name of one of the first six readings.
    """
    count = int(is_faulty.sum())
    if count < max(MIN_FAULTY, SYSTEMATIC * len(is_faulty)) and count < len(is_faulty):
        return f'{count} of {len(is_faulty)} boxes: single slips, not the form of all'
    numbers = _as_written(boxes_yxyx_px, sizes_hw, form)
    for reading in _READINGS:
        share = _fits(reading.edges(numbers, sizes_hw), sizes_hw).mean()
        if share >= _FITTING and reading.name != form:
            fitting = 'all' if share == 1 else f'{share:.1%}'
            return (
                f'{count} of {len(is_faulty)} boxes do not fit as {form}, and {fitting} fit as {reading.name}: the numbers look '
                'like that'
            )
    return _of_another_size(boxes_yxyx_px, sizes_hw)


def _as_written(boxes_yxyx_px: np.ndarray, sizes_hw: np.ndarray, form: str) -> np.ndarray:
    """Returns the four numbers as they stand in the file."""
    scale = np.tile(sizes_hw, 2) if form.endswith(_SHARES) else 1.0
    ymin, xmin, ymax, xmax = (boxes_yxyx_px / scale).T
    columns = {
        CORNERS: (xmin, ymin, xmax, ymax),
        SIZES: (xmin, ymin, xmax - xmin, ymax - ymin),
        CENTRES: ((xmin + xmax) / 2, (ymin + ymax) / 2, xmax - xmin, ymax - ymin),
    }
    return np.stack(columns[form.removesuffix(_SHARES)], 1)


def _fits(edges: np.ndarray, sizes_hw: np.ndarray) -> np.ndarray:
    """Returns bool `[M]`: whether a box (xmin, ymin, xmax, ymax) is larger than a pixel and lies in its image."""
    largest = sizes_hw[:, ::-1] + BOX_TOLERANCE_PX
    is_inside = (edges[:, :2] >= -BOX_TOLERANCE_PX).all(1) & (edges[:, 2:] <= largest).all(1)
    sides = edges[:, 2:] - edges[:, :2]
    return np.asarray(is_inside & (sides > 0).all(1) & (sides.prod(1) > SMALLEST_AREA_PX))


def _of_another_size(boxes_yxyx_px: np.ndarray, sizes_hw: np.ndarray) -> str:
    """Returns that the boxes belong to larger images, where they are boxes and leave theirs at the far edges only."""
    far = boxes_yxyx_px[:, 2:]
    is_box = (boxes_yxyx_px[:, :2] < far).all(1) & (boxes_yxyx_px[:, :2] >= -BOX_TOLERANCE_PX).all(1)
    if is_box.mean() < _FITTING:
        return ''
    ratio = float((far / sizes_hw).max())
    return (
        f'every box has an area and none leaves its image above or left, but edges reach {ratio:.2g} times its size: the boxes '
        'look like those of the same images before they were scaled down'
    )
