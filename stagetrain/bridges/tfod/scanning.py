"""Reads the text of a `pipeline.config` as a tree with line numbers, tolerant where people's files are; values stay text.

    scan('model { faster_rcnn { num_classes: 3 } }', 'pipeline.config')      # (Node(name='model', line=1, ...),)

protobuf reads the values (`reading`); its own parser tells no lines of fields, and stops at the first that it does not know.
"""

from __future__ import annotations

import bisect
import dataclasses
import re

import yaml

from stagetrain.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Node:
    """A field as it is written: a block with fields, or values; neither for an empty list."""

    name: str
    line: int
    """Counted from 1."""
    source: str
    """The field's text in the file."""
    values: tuple[str, ...] = ()
    """As protobuf writes them, quotes included."""
    children: tuple[Node, ...] | None = None
    """A block's fields."""


_SKIPPED = re.compile(r'(?:[\s,;]+|#[^\n]*)*')
_NAME = re.compile(r'[A-Za-z_][A-Za-z0-9_.]*|\[[A-Za-z0-9_./\s-]+\]')
_BLANK = re.compile(r'(?:\s+|#[^\n]*)*')
_SCALAR = re.compile(r"""[^\s,;{}\[\]<>#'"]+""")
_PLACEHOLDER = re.compile(r'<\s*[A-Za-z0-9_ .-]*>|<\s*$', re.MULTILINE)
_CAMEL = re.compile(r'(?<=[a-z0-9])(?=[A-Z])')
_CLOSING = {'{': '}', '<': '>'}


def scan(text: str, path: str) -> tuple[Node, ...]:
    """Returns the fields at the top of a file, in protobuf's text format or as JSON.

    Args:
      text: the file's content.
      path: for errors.

    Raises:
      ConfigError: The text has neither form; with the line.
    """
    return _scan_json(text, path) if text.lstrip().startswith('{') else _Scanner(text, path).all_fields()


class _Scanner:
    def __init__(self, text: str, path: str):
        self._text, self._path, self._at = text, path, 0
        self._starts = [0, *(match.end() for match in re.finditer('\n', text))]

    def all_fields(self) -> tuple[Node, ...]:
        found = self._fields('')
        if self._at < len(self._text):
            raise self._error(self._at, f"found '{self._text[self._at]}', expected a field; a block ends here that nothing began")
        return tuple(found)

    def _fields(self, closing: str) -> list[Node]:
        found: list[Node] = []
        while True:
            self._skip(_SKIPPED)
            if self._at == len(self._text) or self._text[self._at] in '}>':
                return found
            found += self._field()

    def _field(self) -> list[Node]:
        start = self._at
        name = self._take(_NAME, 'the name of a field')
        self._skip(_BLANK)
        if self._peek() == ':':
            self._at += 1
            self._skip(_BLANK)
        if self._peek() == '[':
            return self._list(name, start)
        return [self._content(name, start)]

    def _list(self, name: str, start: int) -> list[Node]:
        self._at += 1
        blocks: list[Node] = []
        values: list[str] = []
        while True:
            self._skip(_SKIPPED)
            if not self._peek():
                raise self._error(start, f"the list of '{name}' has no closing ]")
            if self._peek() == ']':
                self._at += 1
                break
            item = self._content(name, self._at)
            values += item.values
            blocks += [item] if item.children is not None else []
        if blocks:
            return blocks
        return [Node(name, self._line(start), self._text[start : self._at], tuple(values))]

    def _content(self, name: str, start: int) -> Node:
        if self._peek() == '<' and _PLACEHOLDER.match(self._text, self._at):
            found = _PLACEHOLDER.match(self._text, self._at)
            shown = found.group() if found else '<'
            raise self._error(self._at, f"{name}: found '{shown}', a placeholder of a template; expected a value: fill it in")
        opening = self._peek()
        if opening in _CLOSING and opening:
            self._at += 1
            children = self._fields(_CLOSING[opening])
            if self._peek() != _CLOSING[opening]:
                raise self._error(start, f"the block '{name}' that begins here has no closing {_CLOSING[opening]}")
            self._at += 1
            return Node(name, self._line(start), self._text[start : self._at], children=tuple(children))
        value = self._strings() if opening in ('"', "'") and opening else self._take(_SCALAR, f"a value of '{name}'")
        return Node(name, self._line(start), self._text[start : self._at], (value,))

    def _strings(self) -> str:
        """Takes texts that stand beside each other, which mean one."""
        found = []
        while self._peek() and self._peek() in '\'"':
            found.append(self._string())
            end = self._at
            self._skip(_BLANK)
        self._at = end
        return ' '.join(found)

    def _string(self) -> str:
        start, quote = self._at, self._peek()
        line_end = self._text.find('\n', start)
        line_end = len(self._text) if line_end < 0 else line_end
        position = start + 1
        while position < line_end and self._text[position] != quote:
            position += 2 if self._text[position] == '\\' else 1
        if position >= line_end:  # 'C:\data\' ends in an escaped quote for protobuf; whoever wrote it meant the path.
            position = self._text.rfind(quote, start + 1, line_end)
            if position < 0 or self._text[position - 1] != '\\':
                raise self._error(start, f'a text has no closing {quote} on its line')
        self._at = position + 1
        return self._text[start : self._at]

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _take(self, pattern: re.Pattern[str], expected: str) -> str:
        found = pattern.match(self._text, self._at)
        if not found:
            shown = self._peek().strip() or 'the end of the file' if not self._peek() else self._peek()
            raise self._error(self._at, f"found '{shown}', expected {expected}")
        self._at = found.end()
        return found.group()

    def _line(self, position: int) -> int:
        return bisect.bisect_right(self._starts, position)

    def _error(self, position: int, text: str) -> ConfigError:
        return ConfigError(f'{self._path}:{self._line(position)}: {text}')


def _scan_json(text: str, path: str) -> tuple[Node, ...]:
    """JSON is YAML, whose reader tells lines."""
    try:
        root = yaml.compose(text.replace('\t', '    '), Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f'{path}: begins as JSON, but is none: {" ".join(str(error).split())}') from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f'{path}: begins as JSON; expected an object with model, train_config, ...')
    return tuple(_json_fields(root, text))


def _json_fields(block: yaml.MappingNode, text: str) -> list[Node]:
    found: list[Node] = []
    for key, value in block.value:
        name = _CAMEL.sub('_', str(key.value)).lower()
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        blocks = [item for item in items if isinstance(item, yaml.MappingNode)]
        line, source = key.start_mark.line + 1, text[key.start_mark.index : value.end_mark.index]
        if blocks:
            found += [Node(name, item.start_mark.line + 1, source, children=tuple(_json_fields(item, text))) for item in blocks]
        else:
            found.append(Node(name, line, source, tuple(_json_value(item) for item in items)))
    return found


def _json_value(item: yaml.Node) -> str:
    value = str(item.value)
    is_text = item.tag == 'tag:yaml.org,2002:str'
    return '"' + value.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n') + '"' if is_text else value
