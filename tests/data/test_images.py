"""What is told about image files, compared with what TensorFlow's decoder does with them."""

from __future__ import annotations

import io
import pathlib
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from stagetrain.data.annotation import Unusable
from stagetrain.data.images import ImageInfo, inspect, orientation, picture, upright, usable, verify

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
PICTURE = Image.fromarray(PIXELS)
MANY = 10**8


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def with_orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return encoded(PICTURE, 'JPEG', exif=exif)


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'BMP'])
def test_a_header_is_read_from_bytes_and_from_a_file(image_format: str, tmp_path: pathlib.Path) -> None:
    data = encoded(PICTURE, image_format)
    (tmp_path / 'image').write_bytes(data)
    assert inspect(data) == inspect(tmp_path / 'image') == ImageInfo(image_format, 40, 60, 'RGB', 1)


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (encoded(PICTURE, 'GIF'), 'a GIF'),
        (encoded(PICTURE, 'WEBP'), 'a WebP'),
        (encoded(PICTURE, 'TIFF'), 'a TIFF'),
        (b'', 'the file is empty'),
        (b'not an image', 'neither JPEG, PNG nor BMP'),
        (encoded(PICTURE, 'PNG')[:20], 'header is broken'),
        (encoded(PICTURE.convert('P'), 'BMP'), 'a BMP of 8 bits a pixel'),
    ],
)
def test_other_and_broken_files_are_refused(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        inspect(data)


def test_a_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(Unusable, match='no such file'):
        inspect(tmp_path / 'gone.jpg')


def test_too_many_pixels_are_refused_undecoded() -> None:
    data = encoded(Image.new('1', (9000, 9000)), 'PNG')
    assert len(data) < 20_000
    with pytest.raises(Unusable, match=r'9000x9000 = 81,000,000 pixels; data.max_image_pixels is 50,000,000'):
        usable(data, 50_000_000)


def test_a_decompression_bomb_is_refused() -> None:
    with pytest.raises(Unusable, match='too large to open'):
        inspect(encoded(Image.new('1', (14_000, 14_000)), 'PNG'))


@pytest.mark.parametrize('value', range(1, 9))
def test_an_image_is_turned_upright_as_its_exif_orientation_says(value: int) -> None:
    data = with_orientation(value)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    info = usable(data, MANY)
    assert (info.exif_orientation, orientation(data), (info.height, info.width)) == (value, value, expected.shape[:2])
    np.testing.assert_array_equal(upright(np.asarray(Image.open(io.BytesIO(data))), value), expected)
    np.testing.assert_array_equal(np.asarray(picture(data)), expected)


def test_the_exif_orientation_of_a_png_counts_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PICTURE, 'PNG', exif=exif)
    assert (orientation(data), inspect(data).height, orientation(encoded(PICTURE, 'PNG'))) == (6, 60, 1)


@pytest.mark.parametrize('value', [0, 1, 99])
def test_a_meaningless_orientation_is_upright(value: int) -> None:
    assert usable(with_orientation(value), MANY).exif_orientation == 1


def test_broken_exif_does_not_matter() -> None:
    assert usable(encoded(PICTURE, 'JPEG', exif=b'Exif\0\0garbage'), MANY).exif_orientation == 1


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'BMP'])
def test_a_whole_image_is_verified(image_format: str) -> None:
    verify(encoded(PICTURE, image_format))


@pytest.mark.parametrize('image_format', ['JPEG', 'PNG', 'BMP'])
def test_a_truncated_image_is_found(image_format: str) -> None:
    data = encoded(PICTURE, image_format)
    with pytest.raises(Unusable, match='the image data is broken'):
        verify(data[: len(data) * 2 // 3])


@pytest.mark.parametrize('position', [-1, -10, -16, 100])
def test_a_flipped_bit_in_a_png_is_found(position: int) -> None:
    data = bytearray(encoded(PICTURE, 'PNG'))
    data[position] ^= 4
    with pytest.raises(Unusable, match='the image data is broken'):
        verify(bytes(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('image_format', 'mode'),
    [*(('JPEG', mode) for mode in ('RGB', 'L', 'CMYK')), *(('PNG', mode) for mode in ('RGBA', 'LA', 'P', '1')), ('BMP', 'RGB')],
)
def test_tensorflow_decodes_what_is_accepted_to_three_right_channels(image_format: str, mode: str) -> None:
    tf = pytest.importorskip('tensorflow')
    data = encoded(PICTURE.convert(mode), image_format)
    usable(data, MANY)
    decoded = tf.io.decode_image(data, channels=3).numpy()
    expected = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))
    # JPEG decoders may differ by rounding.
    np.testing.assert_allclose(decoded, expected, atol=6 if image_format == 'JPEG' else 0)


@pytest.mark.slow
@pytest.mark.parametrize('image_format', ['JPEG', 'PNG'])
def test_damage_is_found_exactly_when_tensorflow_stops_at_it(image_format: str) -> None:
    tf = pytest.importorskip('tensorflow')
    data = encoded(PICTURE, image_format)
    random = np.random.default_rng(1)
    for position in random.integers(20, len(data), 100):
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(random.integers(8))
        for candidate in (bytes(damaged), data[:position]):
            assert accepted(candidate) == decodable(tf, candidate), position


def accepted(data: bytes) -> bool:
    try:
        usable(data, MANY)
        verify(data)
    except Unusable:
        return False
    return True


def decodable(tf: object, data: bytes) -> bool:
    try:
        tf.io.decode_image(data, channels=3)  # type: ignore[attr-defined]
    except tf.errors.InvalidArgumentError:  # type: ignore[attr-defined]
        return False
    return True


def sixteen_bit_png(pixels: np.ndarray) -> bytes:
    """Encodes uint16 `[height, width, channels]` (1 or 3 channels), which Pillow writes for one channel only."""
    height, width, channels = pixels.shape
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in pixels)
    header = struct.pack('>IIBBBBB', width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    chunks = ((b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b''))
    framed = (struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data)) for kind, data in chunks)
    return b'\x89PNG\r\n\x1a\n' + b''.join(framed)


@pytest.mark.parametrize(('channels', 'mode'), [(1, 'I;16'), (3, 'RGB')])
def test_sixteen_bits_are_accepted(channels: int, mode: str) -> None:
    data = sixteen_bit_png(np.random.default_rng(0).integers(0, 2**16, (40, 60, channels)))
    verify(data)
    assert usable(data, MANY) == ImageInfo('PNG', 40, 60, mode, 1)


@pytest.mark.slow
@pytest.mark.parametrize('channels', [1, 3])
def test_tensorflow_keeps_the_upper_eight_of_sixteen_bits(channels: int) -> None:
    tf = pytest.importorskip('tensorflow')
    pixels = np.random.default_rng(0).integers(0, 2**16, (40, 60, channels))
    decoded = tf.io.decode_image(sixteen_bit_png(pixels), channels=3).numpy()
    np.testing.assert_array_equal(decoded, np.broadcast_to(pixels >> 8, (40, 60, 3)))
