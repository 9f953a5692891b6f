"""Text of annotation files: UTF-8, or what it looks like instead.

decoded(b'caf\\xe9')      # raises: expected UTF-8 text: ... at byte 3; it looks like an older encoding, ...
"""

from __future__ import annotations

import codecs
import json
import math

from stagetrain.data.annotation import Kind, Unusable

_MARKS = ((codecs.BOM_UTF32_LE, 'UTF-32'), (codecs.BOM_UTF16_LE, 'UTF-16'), (codecs.BOM_UTF16_BE, 'UTF-16'))


def decoded(data: bytes) -> str:
    """Returns the text of a file, without a byte order mark.

    Raises:
      Unusable: It is not UTF-8; the reason says what it looks like.
    """
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise _not_utf8(data, f'{error.reason} at byte {error.start}') from error
    if _mostly_zero(data):
        raise _not_utf8(data, f'a zero byte at byte {data.index(0)}')
    return text


def _not_utf8(data: bytes, reason: str) -> Unusable:
    shown = f'expected UTF-8 text: {reason}; {_likely_encoding(data)}: save it as UTF-8'
    return Unusable('', shown, Kind.ENCODING)


def _likely_encoding(data: bytes) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return f'it begins with the mark of {name}'
    if _mostly_zero(data):
        return 'every second byte is zero, as in UTF-16'
    return 'it looks like an older encoding, such as Windows-1252, GBK or Shift JIS'


def _mostly_zero(data: bytes) -> bool:
    """ASCII in UTF-16 without a mark is UTF-8, too, with a zero behind every letter."""
    return data[:4096].count(0) * 3 > len(data[:4096])


def json_number(value: object, place: str) -> float:
    """Returns a number that a JSON file has at a place; an integer too large for one becomes infinite, which no box may be.

    Raises:
      Unusable: it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(place, f'expected a number, found {json.dumps(value)[:80]}', Kind.NOT_A_NUMBER)
    try:
        return float(value)
    except OverflowError:
        return math.inf
