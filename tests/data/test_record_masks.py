"""Masks in records of the Object Detection API."""

from __future__ import annotations

import io
import pathlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stagetrain.config import schema
from stagetrain.data import masks, tfrecord
from tests.data import test_tfrecord as records

HEIGHT, WIDTH = 40, 60


def plate(top: int = 10, left: int = 30) -> np.ndarray:
    """Returns a mask of 10x15 pixels."""
    pixels = np.zeros([HEIGHT, WIDTH], np.uint8)
    pixels[top : top + 10, left : left + 15] = 1
    return pixels


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, 'PNG')
    return buffer.getvalue()


def read(folder: pathlib.Path, **changes: Any) -> tuple[Any, Any]:
    path = records.write(folder / 'x.tfrecord', records.example(**changes))
    return tfrecord.read(schema.DataSource(format='tfrecord', path=str(path), masks=True), records.CLASSES, 10**6)


@pytest.mark.parametrize(
    'values',
    [
        [png(plate())],
        [png(plate() * 255)],
        [png(plate().astype(np.uint16) * 65535)],
        [float(value) for value in plate().ravel()],
    ],
    ids=['png', 'png_255', 'png_16_bits', 'numbers'],
)
def test_masks_are_read_as_pngs_and_as_numbers(tmp_path: pathlib.Path, values: list[Any]) -> None:
    (example,), bad = read(tmp_path, **{'object/mask': values})
    assert bad == []
    assert np.array_equal(masks.pixels(example.masks, HEIGHT, WIDTH)[0], plate())


def test_masks_follow_the_objects_that_are_kept(tmp_path: pathlib.Path) -> None:
    two = {
        'object/bbox/ymin': [0.25, 0.9],
        'object/bbox/xmin': [0.5, 0.1],
        'object/bbox/ymax': [0.5, 0.1],
        'object/bbox/xmax': [0.75, 0.2],
        'object/class/label': [1, 1],
        'object/mask': [png(plate()), png(plate(0, 0))],
    }
    (example,), bad = read(tmp_path, **two)
    assert (len(example.masks), len(bad)) == (1, 1)


def test_without_masks_the_feature_is_passed_over(tmp_path: pathlib.Path) -> None:
    path = records.write(tmp_path / 'x.tfrecord', records.example(**{'object/mask': [b'no PNG']}))
    (example,), bad = tfrecord.read(schema.DataSource(format='tfrecord', path=str(path)), records.CLASSES, 10**6)
    assert (example.masks, bad) == (None, [])


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (None, 'expected a mask for each object in image/object/mask: PNGs, or numbers; found none'),
        ([png(plate()), png(plate())], 'found 2 PNGs for 1 objects'),
        ([png(plate()[:20])], 'the mask has 60x20 pixels, the image 60x40'),
        ([png(plate() * 0)], 'the mask covers no pixel'),
        ([b'no PNG'], 'a PNG cannot be read'),
        ([1.0] * 7, 'expected 1 masks of 2400 floats; found 7 values of type float'),
        ([1] * HEIGHT * WIDTH, 'found 2400 values of type int'),
    ],
)
def test_objects_without_a_usable_mask_are_bad(tmp_path: pathlib.Path, values: Any, expected: str) -> None:
    (example,), (bad,) = read(tmp_path, **{'object/mask': values})
    assert example.masks == ()
    assert bad.element == 'record 1: object[1]/mask'
    assert expected in bad.reason
