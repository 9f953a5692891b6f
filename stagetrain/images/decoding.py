"""Encoded pictures to upright pixels inside a graph: what `data.images` and `images.loading` do, for exported networks.

    pixels = decode(data)       # uint8 [height, width, 3] of the bytes of a JPEG, PNG or BMP file; can be traced

Only TensorFlow's own ops, so that the graph loads where stagetrain is not installed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from stagetrain.data.images import EXIF_ORIENTATION, EXIF_WITHIN, FLIPS

_END_OF_HEADER = 0xDA
"""A JPEG's marker of its picture (start of scan)."""
_APP1 = 0xE1
_NO_LENGTH = (0x01, *range(0xD0, 0xDA))
"""A JPEG's markers without a segment."""
_WIDTHS = {3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4}
"""Kind of a number in EXIF data -> its bytes, of those that Pillow takes for a whole number. Signs do not matter from 1 to 8."""
_ABSENT = -1


def decode(data: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `[height, width, 3]`, RGB, turned upright as its EXIF orientation says.

    Args:
      data: a string scalar: the bytes of a JPEG, PNG or BMP file.
    """
    pixels = tf.ensure_shape(tf.io.decode_image(data, channels=3, expand_animations=False), [None, None, 3])
    return upright(pixels, orientation(data))


def upright(pixels: tf.Tensor, exif_orientation: tf.Tensor) -> tf.Tensor:
    """Turns uint8 `[height, width, 3]` as `data.images.upright` does; the orientation is an int32 scalar from 1 to 8."""
    pixels = tf.cond(exif_orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    for axis in (0, 1):
        is_reversed = tf.gather(tf.constant([False, *(FLIPS[number][axis] < 0 for number in sorted(FLIPS))]), exif_orientation)
        pixels = _mirrored(pixels, axis, is_reversed)
    return tf.ensure_shape(pixels, [None, None, 3])


def orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of an encoded image, an int32 scalar: 1 for upright, or where none is given."""
    header = _Bytes(tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, EXIF_WITHIN), tf.uint8), tf.int32))
    start = tf.case(
        [
            (header.has(0, b'\xff\xd8'), lambda: _exif_of_jpeg(header)),
            (header.has(0, b'\x89PNG\r\n\x1a\n'), lambda: _exif_of_png(header)),
        ],
        default=lambda: tf.constant(_ABSENT),
    )
    return tf.cond(start == _ABSENT, lambda: tf.constant(1), lambda: _orientation_at(header, start))


@dataclasses.dataclass(frozen=True)
class _Bytes:
    """The beginning of a file, and zeros behind it."""

    values: tf.Tensor
    """int32 `[N]`."""

    def at(self, position: tf.Tensor | int) -> tf.Tensor:
        """Returns the byte at a position."""
        last = tf.size(self.values) - 1
        is_inside = (position >= 0) & (position <= last)
        return tf.where(is_inside, tf.gather(self.values, tf.clip_by_value(position, 0, last)), 0)

    def has(self, position: tf.Tensor | int, text: bytes) -> tf.Tensor:
        """Returns whether some bytes stand at a position."""
        return tf.reduce_all(tf.stack([self.at(position + number) == byte for number, byte in enumerate(text)]))

    def number(self, position: tf.Tensor, width: int, is_little: tf.Tensor | bool = False) -> tf.Tensor:
        """Returns a number of some bytes without a sign; one of 2**31 or more is the largest int32."""
        big = [tf.cast(self.at(position + index), tf.int64) * 256 ** (width - 1 - index) for index in range(width)]
        little = [tf.cast(self.at(position + index), tf.int64) * 256**index for index in range(width)]
        return tf.cast(tf.minimum(tf.where(is_little, tf.add_n(little), tf.add_n(big)), tf.int32.max), tf.int32)

    @property
    def end(self) -> tf.Tensor:
        """The position behind the last byte."""
        return tf.size(self.values)


def _exif_of_jpeg(header: _Bytes) -> tf.Tensor:
    """Returns where the TIFF header of the EXIF data begins, or `_ABSENT`: in the first segment APP1 that begins with `Exif`."""

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        return header.has(position, bytes([0xFF, _APP1])) & header.has(position + 4, b'Exif\0\0')

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        return (position < header.end) & ~is_exif(position) & ~header.has(position, bytes([0xFF, _END_OF_HEADER]))

    def following(position: tf.Tensor) -> tf.Tensor:
        marker = header.at(position + 1)
        is_marker = (header.at(position) == 0xFF) & (marker != 0xFF) & (marker != 0)
        has_length = tf.reduce_all(marker != tf.constant(_NO_LENGTH))
        length = tf.where(has_length, header.number(position + 2, 2), 0)
        return position + tf.where(is_marker, 2 + length, 1)  # Between segments there may be bytes that mean nothing.

    found = _first(goes_on, following, 2)
    return tf.where(is_exif(found), found + 10, _ABSENT)


def _exif_of_png(header: _Bytes) -> tf.Tensor:
    """Returns where the TIFF header begins, or `_ABSENT`: in a chunk `eXIf` in front of the picture."""

    def is_exif(position: tf.Tensor) -> tf.Tensor:
        return header.has(position + 4, b'eXIf')

    def goes_on(position: tf.Tensor) -> tf.Tensor:
        return (position < header.end) & ~is_exif(position) & ~header.has(position + 4, b'IDAT')

    def following(position: tf.Tensor) -> tf.Tensor:
        return position + 12 + tf.minimum(header.number(position, 4), EXIF_WITHIN)

    found = _first(goes_on, following, 8)
    return tf.where(is_exif(found), found + 8, _ABSENT)


def _orientation_at(header: _Bytes, start: tf.Tensor) -> tf.Tensor:
    """Returns the orientation that EXIF data say, 1 where they are broken or say none (EXIF 2.3, section 4.6)."""
    is_little = header.has(start, b'II*\0')
    first = start + tf.minimum(header.number(start + 4, 4, is_little), EXIF_WITHIN)
    entries = first + 2 + 12 * tf.range(header.number(first, 2, is_little))
    tags = header.number(entries, 2, is_little)
    found = entries[tags == EXIF_ORIENTATION]
    is_told = (is_little | header.has(start, b'MM\0*')) & (tf.size(found) > 0)
    value = tf.cond(is_told, lambda: _value(header, found[-1], is_little), lambda: tf.constant(1))
    return tf.where((value >= 2) & (value <= 8), value, 1)


def _value(header: _Bytes, entry: tf.Tensor, is_little: tf.Tensor) -> tf.Tensor:
    """Returns the number of an entry that holds one; 1 for others."""
    kind, count = header.number(entry + 2, 2, is_little), header.number(entry + 4, 4, is_little)
    values = [tf.where(kind == number, header.number(entry + 8, width, is_little), 0) for number, width in _WIDTHS.items()]
    return tf.where(count == 1, tf.add_n(values), 1)


def _first(goes_on: Callable[[tf.Tensor], tf.Tensor], following: Callable[[tf.Tensor], tf.Tensor], start: int) -> tf.Tensor:
    """Returns the first position, from `start` on, at which a search ends."""
    (found,) = tf.while_loop(goes_on, lambda position: (following(position),), (tf.constant(start),))
    return found


def _mirrored(pixels: tf.Tensor, axis: int, is_mirrored: tf.Tensor) -> tf.Tensor:
    return tf.cond(is_mirrored, lambda: tf.reverse(pixels, [axis]), lambda: pixels)
