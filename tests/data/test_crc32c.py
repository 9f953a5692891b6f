"""CRC-32C against the values of RFC 3720 and a bit-by-bit computation."""

from __future__ import annotations

import numpy as np
import pytest

from stagetrain.data.crc32c import crc32c, masked_crc32c


def bit_by_bit(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ('data', 'expected'),
    [
        (b'', 0),
        (b'123456789', 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b'\xff' * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


@pytest.mark.parametrize('length', [1, 63, 64, 255, 256, 257, 320, 511, 512, 513, 1000, 4096, 12_345])
def test_every_length_agrees_with_the_definition(length: int) -> None:
    data = np.random.default_rng(length).bytes(length)
    assert crc32c(data) == bit_by_bit(data)


def test_leading_zeros_count() -> None:
    assert len({crc32c(bytes(length) + b'x') for length in range(300, 400)}) == 100


def test_the_mask_of_tfrecords() -> None:
    # Rotated: 0xE3069283 >> 15 | << 17 = 0x2507C60D; plus 0xA282EAD8.
    assert masked_crc32c(b'123456789') == 0xC78AB0E5
