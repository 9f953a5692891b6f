"""Walks the global heaps of an HDF5 file, where texts of variable length lie: the HDF5 library walks a damaged one forever.

    require_sound_heaps(mapped_file)      # raises ValueError

Found by flipping bits: an object of index 0 (free space) and size 0 makes no step. The layout is that of the HDF5 File Format
Specification 3.0, section III.E.
"""

from __future__ import annotations

import mmap
import re
import struct

_HEAP = re.compile(rb'GCOL\x01\0\0\0')
"""Signature, version 1 and three reserved bytes: numbers of a weight file are not taken for it."""
_HEADER_BYTES = 16
_OBJECT = struct.Struct('<HHIQ')
"""Index, reference count, reserved, size of the data."""


def require_sound_heaps(content: bytes | mmap.mmap) -> None:
    """Refuses a file that has a global heap which cannot be walked to its end.

    Raises:
      ValueError: an object in a heap makes no step, or one out of the heap.
    """
    for match in _HEAP.finditer(content):
        start = match.start()
        size = int.from_bytes(content[start + 8 : start + _HEADER_BYTES], 'little')
        _walk(content, start, min(start + size, len(content)))


def _walk(content: bytes | mmap.mmap, start: int, end: int) -> None:
    place = start + _HEADER_BYTES
    while place + _OBJECT.size <= end:
        index, _, _, size = _OBJECT.unpack(content[place : place + _OBJECT.size])
        step = _OBJECT.size + (size + 7) // 8 * 8 if index else size  # The size of free space counts its own header.
        if step < _OBJECT.size or place + step > end:
            raise ValueError(f'its global heap at byte {start} has an object of {size} bytes at byte {place}; it is damaged')
        place += step
