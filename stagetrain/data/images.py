"""Which image files can be used, told without TensorFlow: a look at the header, and a full decoding when asked.

Accepted is what `tf.io.decode_image(channels=3)` turns into one picture of three channels of 8 bits: JPEG, PNG, BMP. It repeats
a grayscale channel three times, expands a PNG's palette, drops alpha and keeps the upper 8 of 16 bits; it converts a CMYK JPEG
without regard to a colour profile. It ignores a BMP's palette: such files are refused. It ignores the EXIF orientation too, which
viewers and annotation tools obey: whoever decodes an image turns it by `upright`, and sizes are those of the upright picture.

    info = usable('JPEGImages/0001.jpg', max_pixels=50_000_000)     # ImageInfo(format='JPEG', height=480, width=640, ...)
    pixels = upright(decoded, info.exif_orientation)
"""

from __future__ import annotations

import dataclasses
import io
import os
import struct
import zlib
from typing import BinaryIO

import numpy as np
import PIL
from PIL import Image

from stagetrain.data.annotation import Kind, Unusable

FORMATS = ('JPEG', 'PNG', 'BMP')
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp')
"""Of files in these formats, in lower case."""
EXIF_ORIENTATION = 0x0112
EXIF_WITHIN = 2**17
"""EXIF data, of 64 KiB at most, stand in front of a JPEG's picture, behind few other segments."""
FLIPS = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
"""Orientation -> steps along rows and columns; from 5 on behind an exchange of the two."""
# First bytes of formats that people do keep in image folders, for a reason better than "not an image".
_REFUSED = (
    (b'GIF8', 'a GIF, which is decoded to several frames'),
    (b'II*\0', 'a TIFF, which TensorFlow cannot decode'),
    (b'MM\0*', 'a TIFF, which TensorFlow cannot decode'),
    (b'%PDF', 'a PDF'),
    (b'version https://git-lfs', "a pointer of Git LFS, whose image 'git lfs pull' brings"),
    (b'\0\x05\x16\x07', 'what macOS notes about a file of that name (AppleDouble), which can be removed'),
    (b'\0\0\0\x0cjP  ', 'a JPEG 2000, which TensorFlow cannot decode'),
)
_PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'


@dataclasses.dataclass(frozen=True)
class ImageInfo:
    """What a header says. Height and width are those of the upright picture; `exif_orientation` is 1 for an image that is stored
    upright, or says nothing."""

    format: str
    height: int
    width: int
    mode: str
    exif_orientation: int

    @property
    def size_in_words(self) -> str:
        """Width and height, and how it came to them when that may surprise."""
        turned = f' when turned upright (EXIF orientation {self.exif_orientation})' if self.exif_orientation != 1 else ''
        return f'{self.width}x{self.height} pixels{turned}'


def inspect(source: bytes | str | os.PathLike[str]) -> ImageInfo:
    """Reads the header of an image given as bytes or as a path; decodes nothing.

    Raises:
      Unusable: It cannot be read, is of another format, or is broken or so large that Pillow refuses it.
    """
    try:
        with _open(source) as file:
            _refuse_other_formats(file.read(34))
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                return _info(image)
    except OSError as error:
        raise _unusable(_why_unreadable(error)) from error
    except (SyntaxError, ValueError, struct.error) as error:
        raise _unusable(f'the image header is broken: {error}') from error
    except Image.DecompressionBombError as error:
        raise _unusable(f'the image is too large to open: {error}') from error


def usable(source: bytes | str | os.PathLike[str], max_pixels: int) -> ImageInfo:
    """Like `inspect`, and refuses what training cannot use by its header.

    Args:
      source: The encoded image or its path.
      max_pixels: Height times width that is still accepted.

    Raises:
      Unusable: As in `inspect`; or too many pixels.
    """
    info = inspect(source)
    if info.height * info.width > max_pixels:
        pixels = f'{info.width}x{info.height} = {info.width * info.height:,} pixels'
        raise Unusable('', f'the image has {pixels}; data.max_image_pixels is {max_pixels:,}', Kind.LARGE)
    return info


def orientation(data: bytes) -> int:
    """Returns the EXIF orientation of an encoded image that `usable` accepts: 1 for upright."""
    if b'Exif' not in data[:EXIF_WITHIN] and b'eXIf' not in data[:EXIF_WITHIN]:  # Opening costs ten times this look.
        return 1
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return _orientation(image)


def upright(pixels: np.ndarray, exif_orientation: int) -> np.ndarray:
    """Turns decoded pixels `[height, width, ...]` as the EXIF orientation says (EXIF 2.3, tag 0x0112)."""
    if exif_orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows, columns = FLIPS[exif_orientation]
    return np.ascontiguousarray(pixels[::rows, ::columns])


def picture(data: bytes) -> Image.Image:
    """Returns an encoded image as an upright RGB picture, to draw on."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return Image.fromarray(upright(np.asarray(image.convert('RGB')), _orientation(image)))


def verify(source: bytes | str | os.PathLike[str]) -> None:
    """Decodes the whole image, which finds truncated and damaged data that TensorFlow's decoder would stop at.

    JPEG is decoded at an eighth of its size: all of its data is read, the costly transform is not done. Damage that leaves a
    JPEG decodable to wrong colours is not found, as the format has no checksum.

    Raises:
      Unusable: The data ends early or cannot be decoded.
    """
    try:
        with _open(source) as file:
            data = file.read()
        if data.startswith(_PNG_SIGNATURE):
            _check_png_chunks(data)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft(None, (max(image.width // 8, 1), max(image.height // 8, 1)))
            image.load()
    except (OSError, SyntaxError, ValueError, struct.error, EOFError) as error:
        raise _unusable(f'the image data is broken: {error}') from error
    except Image.DecompressionBombError as error:
        raise _unusable(f'the image is too large to open: {error}') from error


def _unusable(reason: str) -> Unusable:
    return Unusable('', reason, Kind.IMAGE)


def _open(source: bytes | str | os.PathLike[str]) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, 'rb')


def _refuse_other_formats(start: bytes) -> None:
    if not start:
        raise _unusable('the file is empty')
    if start[:4] == b'RIFF' and start[8:12] == b'WEBP':
        raise _unusable('a WebP, which is decoded to several frames or not at all; expected JPEG, PNG or BMP')
    for magic, name in _REFUSED:
        if start.startswith(magic):
            raise _unusable(f'{name}; expected JPEG, PNG or BMP')
    if start.startswith(b'BM') and len(start) == 34:
        _refuse_palette_bmp(*struct.unpack('<HI', start[28:34]))


def _refuse_palette_bmp(bits_per_pixel: int, compression: int) -> None:
    """TensorFlow takes palette indices for gray values, and knows neither 16 bits nor compression."""
    if bits_per_pixel not in (24, 32) or compression != 0:
        found = f'{bits_per_pixel} bits a pixel, compression {compression}'
        raise _unusable(f'a BMP of {found}; expected 24 or 32 bits uncompressed, or JPEG or PNG')


def _check_png_chunks(data: bytes) -> None:
    """Compares every chunk's checksum, which TensorFlow's decoder does and Pillow leaves out in places."""
    position = len(_PNG_SIGNATURE)
    kind = b''
    while kind != b'IEND':
        (length,) = struct.unpack_from('>I', data, position)
        kind = data[position + 4 : position + 8]
        (expected,) = struct.unpack_from('>I', data, position + 8 + length)
        if zlib.crc32(data[position + 4 : position + 8 + length]) != expected:
            raise ValueError(f"wrong checksum in PNG chunk '{kind.decode('ascii', 'replace')}' at byte {position}")
        position += 12 + length


def _why_unreadable(error: OSError) -> str:
    if isinstance(error, PIL.UnidentifiedImageError):
        return 'neither JPEG, PNG nor BMP, or its header is broken'
    if isinstance(error, FileNotFoundError):
        return 'no such file'
    # Pillow raises OSError without a number for what it finds wrong in a file.
    return f'cannot be read: {error.strerror}' if error.errno else f'the image header is broken: {error}'


def _info(image: Image.Image) -> ImageInfo:
    # A JPEG with an embedded second picture is called MPO; the decoder takes the first.
    name = 'JPEG' if image.format == 'MPO' else str(image.format)
    turned = _orientation(image)
    height, width = (image.width, image.height) if turned >= 5 else (image.height, image.width)
    return ImageInfo(name, height, width, image.mode, turned)


def _orientation(image: Image.Image) -> int:
    """Reads the tag from the header alone: `image.getexif()` would decode a whole PNG to look for it at the end."""
    data = image.info.get('exif')
    if not data:
        return 1
    exif = Image.Exif()
    try:
        exif.load(data)
        value = exif.get(EXIF_ORIENTATION, 1)
    except (SyntaxError, ValueError, struct.error, KeyError, OSError):
        return 1
    return value if value in range(2, 9) else 1
