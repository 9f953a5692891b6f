"""Pictures decoded inside a graph are those that training and `detect` see."""

from __future__ import annotations

import io
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from stagetrain.data import images
from stagetrain.images import decoding

PIXELS = np.random.default_rng(0).integers(0, 255, (3, 5, 3), np.uint8)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def traced(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return decoding.decode(data), decoding.orientation(data)


def exif_of(value: object, *, is_little: bool = True) -> bytes:
    exif = PIL.Image.Exif()
    exif.endian = '<' if is_little else '>'
    exif[0x010F] = 'a maker'  # In front of the orientation, with its text behind the table.
    exif[images.EXIF_ORIENTATION] = value
    exif[0x0131] = 'a program'
    return exif.tobytes()


def encoded(kind: str, exif: bytes | None = None, mode: str = 'RGB') -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(PIXELS).convert(mode).save(file, kind, **({} if exif is None else {'exif': exif}))
    return file.getvalue()


def expected(data: bytes) -> tuple[np.ndarray, int]:
    told = images.orientation(data)
    return images.upright(tf.io.decode_image(data, 3, expand_animations=False).numpy(), told), told


@pytest.mark.parametrize('kind', ['jpeg', 'png'])
@pytest.mark.parametrize('is_little', [True, False])
def test_every_orientation_is_turned_as_in_training(kind: str, is_little: bool) -> None:
    for number in range(10):
        data = encoded(kind, exif_of(number, is_little=is_little))
        pixels, told = traced(data)
        assert int(told) == expected(data)[1] == (number if 1 <= number <= 8 else 1)
        np.testing.assert_array_equal(pixels, expected(data)[0])


@pytest.mark.parametrize(
    ('kind', 'mode'), [('jpeg', 'RGB'), ('jpeg', 'L'), ('jpeg', 'CMYK'), ('png', 'RGBA'), ('png', 'P'), ('bmp', 'RGB')]
)
def test_pictures_that_say_nothing_stay_as_they_are(kind: str, mode: str) -> None:
    data = encoded(kind, mode=mode)
    np.testing.assert_array_equal(traced(data)[0], expected(data)[0])


@pytest.mark.filterwarnings('ignore::UserWarning')  # Pillow's, about what is broken.
@pytest.mark.parametrize('kind', ['jpeg', 'png'])
def test_broken_headers_give_what_training_takes_them_for(kind: str) -> None:
    """One byte of the EXIF data is another one, in many ways; what cannot be decoded at all is no picture for either."""
    exif = PIL.Image.Exif()
    exif.endian = '<'
    exif[images.EXIF_ORIENTATION] = 6
    random, whole = np.random.default_rng(1), encoded(kind, exif.tobytes())
    start = whole.index(b'II*\0')
    compared = 0
    for _ in range(150):
        data = bytearray(whole)
        data[start + random.integers(0, 26)] = random.integers(0, 256)
        if kind == 'png':  # The chunk's checksum is right again, or nobody would read it.
            end = start + int.from_bytes(data[start - 8 : start - 4], 'big')
            data[end : end + 4] = zlib.crc32(data[start - 4 : end]).to_bytes(4, 'big')
        try:
            wanted = images.orientation(bytes(data))
        except OSError:
            continue
        told = int(orientation(bytes(data)))
        assert told == wanted, bytes(data[start : start + 26])
        compared += 1
    assert compared > 100


@tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
def orientation(data: tf.Tensor) -> tf.Tensor:
    return decoding.orientation(data)
