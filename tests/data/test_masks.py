"""Masks from COCO's segmentations: polygons and run lengths give the same pixels, and what is unsound is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from stagetrain.data import masks
from stagetrain.data.annotation import Unusable


def read(segmentation: Any) -> np.ndarray:
    return masks.pixels([masks.from_segmentation(segmentation, 4, 6, 'a')], 4, 6)[0]


def test_polygons_are_united() -> None:
    found = read([[0, 0, 2, 0, 2, 2, 0, 2], [4, 1, 6, 1, 6, 4, 4, 4]])
    expected = np.zeros([4, 6], np.uint8)
    expected[0:2, 0:2] = expected[1:4, 4:6] = 1
    np.testing.assert_array_equal(found, expected)


def test_run_lengths_go_down_the_columns() -> None:
    found = read({'size': [4, 6], 'counts': [5, 2, 17]})
    assert np.argwhere(found).tolist() == [[1, 1], [2, 1]]


def test_compressed_run_lengths_are_those_of_pycocotools() -> None:
    random = np.random.default_rng(0)
    for share in (0.01, 0.5, 0.99):
        pixels = (random.random([4, 6]) < share).astype(np.uint8)
        pixels[0, 0] = 1
        compressed = coco_mask.encode(np.asfortranarray(pixels))['counts'].decode()
        np.testing.assert_array_equal(read({'size': [4, 6], 'counts': compressed}), pixels)
        assert masks.from_pixels(pixels[np.newaxis]) == [compressed]


@pytest.mark.parametrize(
    ('segmentation', 'reason'),
    [
        (None, r'expected polygons .* or run lengths .*, found None'),
        ([], 'found an empty list'),
        ([[1, 2, 3, 4]], r'expected polygons .*found \[1, 2, 3, 4\]'),
        ([[1, 2, 3, 4, 'a', 6]], 'expected polygons'),
        ([[1, 2, 3, 4, float('nan'), 6]], 'expected polygons'),
        ({'size': [4, 6], 'counts': None}, 'expected polygons'),
        ({'size': [4, 6], 'counts': [5, 2, 16]}, r'run lengths over 23 pixels of size \[4, 6\]; the image has 24'),
        ({'size': [4, 6], 'counts': [50, -26]}, 'run lengths over 24 pixels'),
        ({'size': [6, 4], 'counts': [5, 2, 17]}, r'of size \[6, 4\]; the image has 24 of size \[4, 6\]'),
        ({'size': [4, 6], 'counts': 'zzzz'}, 'run lengths over'),
        ({'size': [4, 6], 'counts': '\u20ac'}, 'expected polygons'),
        ({'size': [4, 6], 'counts': [24]}, 'the mask covers no pixel'),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(segmentation: Any, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        read(segmentation)
