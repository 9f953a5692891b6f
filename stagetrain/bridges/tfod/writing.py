"""Writes a pipeline file with remarks, as a person would: blocks over lines, small ones on one.

print(render({'model': {'type': 'retinanet', 'min_level': 3}}, {'model.min_level': 'as in the file'}))
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping
from typing import Any

WIDTH = 118
_PLAIN = re.compile(r'[A-Za-z_][A-Za-z0-9_./-]*')
_WORDS = re.compile(r'(?i)y|n|yes|no|on|off|true|false|null|none|nan|inf')


def render(value: Mapping[str, Any], notes: Mapping[str, str]) -> str:
    """Returns the YAML text of plain values.

    Args:
      value: mappings, lists, texts, numbers, True, False, None.
      notes: path of a key, with dots, -> a comment for the line above it, or behind it where there is room.
    """
    return '\n'.join(_block(value, '', '', notes)) + '\n'


def comment(text: str, indent: str = '') -> list[str]:
    """Returns a text as lines of a comment."""
    width = WIDTH - len(indent)
    return [line for part in text.splitlines() for line in textwrap.wrap(part, width, initial_indent=f'{indent}# ',
            subsequent_indent=f'{indent}#   ', break_long_words=False, break_on_hyphens=False) or [f'{indent}#']]  # fmt: skip


def _block(value: Mapping[str, Any], indent: str, path: str, notes: Mapping[str, str]) -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        here = f'{path}.{key}' if path else key
        lines += _entry(f'{indent}{_text(key)}:', item, indent, here, notes)
    return lines


def _entry(head: str, item: Any, indent: str, path: str, notes: Mapping[str, str]) -> list[str]:
    note = notes.get(path, '')
    has_notes = any(name.startswith(f'{path}.') for name in notes)
    flow = f'{head} {_flow(item)}'
    if (
        (not isinstance(item, Mapping) or not has_notes)
        and (len(flow) <= WIDTH or not _can_spread(item))
        and not _has_blocks(item)
    ):
        if note and len(flow) + len(note) + 4 <= WIDTH:
            return [f'{flow}  # {note}']
        return [*(comment(note, indent) if note else []), flow]
    above = comment(note, indent) if note else []
    if isinstance(item, Mapping):
        return [*above, head, *_block(item, f'{indent}  ', path, notes)]
    if not _has_blocks(item):
        return [*above, *_filled(head, item, f'{indent}  ')]
    lines = [*above, head]
    for element in item:
        inner = _block(element, f'{indent}    ', path, notes)
        lines += [f'{indent}  - {inner[0].lstrip()}', *inner[1:]]
    return lines


def _filled(head: str, items: Any, indent: str) -> list[str]:
    """Returns a list of single values over as many lines as it needs."""
    lines = [f'{head} [']
    for number, item in enumerate(items):
        text = _flow(item) + (']' if number == len(items) - 1 else ',')
        if len(lines[-1]) + len(text) + 1 > WIDTH:
            lines.append(f'{indent}{text}')
        else:
            lines[-1] += ('' if lines[-1].endswith('[') else ' ') + text
    return lines


def _has_blocks(item: Any) -> bool:
    return isinstance(item, (list, tuple)) and bool(item) and all(isinstance(element, Mapping) for element in item)


def _can_spread(item: Any) -> bool:
    return isinstance(item, (Mapping, list, tuple)) and bool(item)


def _flow(item: Any) -> str:
    if isinstance(item, Mapping):
        return '{' + ', '.join(f'{_text(key)}: {_flow(value)}' for key, value in item.items()) + '}'
    if isinstance(item, (list, tuple)):
        return '[' + ', '.join(_flow(value) for value in item) + ']'
    if item is None:
        return 'null'
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, float) and not math.isfinite(item):
        return '.nan' if math.isnan(item) else '.inf' if item > 0 else '-.inf'
    return _text(item) if isinstance(item, str) else repr(item)


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and not _WORDS.fullmatch(value):
        return value
    if any(ord(letter) < 32 for letter in value):
        escaped = ''.join(letter if ord(letter) >= 32 else f'\\x{ord(letter):02x}' for letter in value.replace('\\', '\\\\'))
        return '"' + escaped.replace('"', '\\"') + '"'
    return "'" + value.replace("'", "''") + "'"
