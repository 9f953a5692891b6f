"""Random changes of bytes: bits, pieces, words, numbers and lines."""

from __future__ import annotations

import random
import re

NASTY = (b'nan', b'-1', b'0', b'1e999', b'99999999999999999999', b'-inf', b'', b'null', b'[]', b'{}', b'"', b'\x00', b'\xff\xfe')

NASTY += (
    b'../../../etc/passwd',
    b'/etc/passwd',
    b'${HOME}',
    b'$(touch marker)',
    b'!!python/object/apply:os.system [touch marker]',
)


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Returns content with one to four random changes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = draw.choice(MUTATIONS)(content, draw)
    return content


def _flip(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return content
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _drop(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:first] + content[last:]


def _double(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:last] + content[first:]


def _overwrite(content: bytes, draw: random.Random) -> bytes:
    first, last = _piece(content, draw)
    return content[:first] + draw.choice((bytes(last - first), draw.randbytes(last - first))) + content[last:]


def _insert(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice(NASTY) + content[place:]


def _token(content: bytes, draw: random.Random) -> bytes:
    """Replaces a word or a number by something nasty or by another word of the file."""
    text = content.decode('latin-1')
    words = list(_WORD.finditer(text))
    if not words:
        return _flip(content, draw)
    word = draw.choice(words)
    other = draw.choice(NASTY) if draw.random() < 0.6 else draw.choice(words)[0].encode('latin-1')
    return content[: word.start()] + other + content[word.end() :]


def _swap_lines(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b'\n')
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b'\n'.join(lines)


def _piece(content: bytes, draw: random.Random) -> tuple[int, int]:
    first = draw.randrange(len(content) + 1)
    return first, min(len(content), first + draw.choice((1, 4, 16, 200)))


_WORD = re.compile(r'[A-Za-z_][A-Za-z_0-9]*|-?[0-9][0-9.e+-]*')


MUTATIONS = (_flip, _flip, _cut, _drop, _double, _overwrite, _insert, _token, _token, _token, _swap_lines)
