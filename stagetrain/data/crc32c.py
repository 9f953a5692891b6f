"""The checksum of TFRecords: CRC-32C (Castagnoli; RFC 3720, appendix B.4), with numpy and fast enough for images.

The register is linear over GF(2): data is cut into equal lanes, all lanes take one byte a step, and two neighbours are joined by
shifting the left one over the length of the right one. Zeros in front of the data leave an empty register as it is.

    crc32c(b'123456789') == 0xE3069283
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # bit-reversed
_LOG_LANE_BYTES = 6
_MAX_SHORT_BYTES = 256  # Up to here, e.g. for a record's length, numpy's calls cost more than a loop.


def crc32c(data: bytes) -> int:
    """Returns the CRC-32C of `data`."""
    return (_short(data) if len(data) <= _MAX_SHORT_BYTES else _long(data)) ^ 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """Returns the checksum as TFRecords store it: rotated right by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _short(data: bytes) -> int:
    table = _byte_list()
    register = 0xFFFFFFFF
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register


def _long(data: bytes) -> int:
    lane_bytes = 1 << _LOG_LANE_BYTES
    num_lanes = 1 << max(-(-len(data) // lane_bytes) - 1, 0).bit_length()
    padded = np.zeros(num_lanes * lane_bytes, np.uint8)
    padded[padded.size - len(data) :] = np.frombuffer(data, np.uint8)
    registers = _lane_registers(padded.reshape(num_lanes, lane_bytes))
    log_bytes = _LOG_LANE_BYTES
    while registers.size > 1:
        registers = _shifted(registers[0::2], log_bytes) ^ registers[1::2]
        log_bytes += 1
    return int(registers[0] ^ _start(len(data)))


def _lane_registers(lanes: np.ndarray) -> np.ndarray:
    """Runs every lane, uint8 `[lanes, bytes]`, from an empty register; returns uint32 `[lanes]`."""
    table = _byte_table()
    registers = np.zeros(lanes.shape[0], np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        registers = table[(registers ^ column) & 0xFF] ^ (registers >> 8)
    return registers


def _start(num_bytes: int) -> np.uint32:
    """Returns what the register's start value, all ones, has become after `num_bytes`."""
    register = np.full(1, 0xFFFFFFFF, np.uint32)
    for log_bytes in range(num_bytes.bit_length()):
        if num_bytes >> log_bytes & 1:
            register = _shifted(register, log_bytes)
    return register[0]


def _shifted(registers: np.ndarray, log_bytes: int) -> np.ndarray:
    """Returns the registers after `2 ** log_bytes` zero bytes."""
    tables = _shift_tables(log_bytes)
    parts = (tables[part][registers >> (8 * part) & 0xFF] for part in range(4))
    return functools.reduce(np.bitwise_xor, parts)


@functools.cache
def _byte_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


@functools.cache
def _byte_list() -> list[int]:
    return _byte_table().tolist()


@functools.cache
def _shift_tables(log_bytes: int) -> np.ndarray:
    """Returns uint32 `[4, 256]`: what each value of each byte of a register becomes after `2 ** log_bytes` zero bytes."""
    values = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32)[:, np.newaxis])
    if log_bytes == 0:
        return _byte_table()[values & 0xFF] ^ (values >> 8)
    return _shifted(_shifted(values, log_bytes - 1), log_bytes - 1)
