"""Pictures: sound ones of noise, and such as claim to be huge."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image


def picture(size: tuple[int, int] = (60, 40), kind: str = 'JPEG') -> bytes:
    """Returns a picture of noise; size is (width, height)."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Returns a PNG that claims a size and holds next to nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(bytes(10**6), 9)) + chunk(b'IEND', b'')


def jpeg_of(width: int, height: int) -> bytes:
    """Returns a JPEG whose frame header claims a size."""
    content = bytearray(picture())
    place = content.index(b'\xff\xc0') + 5
    content[place : place + 4] = struct.pack('>HH', height, width)
    return bytes(content)
