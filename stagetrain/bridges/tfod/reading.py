"""Reads a `pipeline.config` of the Object Detection API: protobuf reads the values, and nothing that it would pass over is lost.

parsed = read('pipeline.config')
parsed.message.model.faster_rcnn.num_classes
parsed.line('model.faster_rcnn.num_classes')
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import text_format

from stagetrain.bridges.tfod import descriptors, scanning
from stagetrain.bridges.tfod.scanning import Node
from stagetrain.errors import ConfigError, suggestion

FORMER_NAMES = {'first_stage_only': ('number_of_stages', {'true': '1', 'false': '2'})}
"""Field of an old release -> the name and values that its number has today."""
_ESCAPES = re.compile(r"""\\(?:[abfnrtv\\'"?]|[0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})""")
_CONTROL = re.compile(r'\\[abfnrtv]')
_DRIVE = re.compile(r'[A-Za-z]:\\(?!\\)')


@dataclasses.dataclass(frozen=True)
class Unknown:
    """A field that no release of the API known here has."""

    path: str
    line: int
    source: str
    nearest: str
    """` Did you mean 'x'?`, or nothing."""


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A file as a message, and what of it is not in the message."""

    path: str
    message: Any
    lines: dict[str, int]
    """Path of a field -> its line, from 1."""
    unknown: tuple[Unknown, ...]
    remarks: tuple[str, ...]
    """What was read otherwise than protobuf alone would, a line each."""

    def line(self, path: str) -> int | None:
        """Returns the line of a field, or of the nearest block around it; None where the file has neither."""
        while path and path not in self.lines:
            path = path.rpartition('.')[0]
        return self.lines.get(path)

    def place(self, path: str) -> str:
        """Returns `file:line: path`, as errors and reports begin."""
        line = self.line(path)
        return f'{self.path}:{line}: {path}' if line else f'{self.path}: {path}'


def read(path: str | os.PathLike[str]) -> Parsed:
    """Reads a file in protobuf's text format, or as JSON.

    Raises:
      ConfigError: It cannot be read, is neither, or a value does not fit its field; with the line.
    """
    text, remarks = _text(path)
    reader = _Reader(str(path), remarks)
    message = reader.message(scanning.scan(text, str(path)))
    if not message.ListFields() and not reader.unknown:
        raise ConfigError(f'{path}: is empty; expected a pipeline.config with model, train_config and input readers')
    if not message.ListFields():
        first = reader.unknown[0]
        raise ConfigError(
            f'{path}:{first.line}: {first.path}: no field of a pipeline.config of the Object Detection API, and no other field '
            f'of this file is; expected model, train_config, train_input_reader, ...{first.nearest}'
        )
    return Parsed(str(path), message, reader.lines, tuple(reader.unknown), tuple(reader.remarks))


def _text(path: str | os.PathLike[str]) -> tuple[str, list[str]]:
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f'{path}: cannot be read: {error.strerror}; expected a pipeline.config') from error
    if content.startswith((b'\xff\xfe', b'\xfe\xff')):
        return content.decode('utf-16', 'replace'), []
    try:
        return content.decode('utf-8-sig').replace('\r\n', '\n'), []
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b'\n') + 1
        remark = f'{path}:{line}: is not UTF-8; its letters beyond ASCII are read as Latin-1'
        return content.decode('latin-1').replace('\r\n', '\n'), [remark]


class _Reader:
    """Writes known fields out for protobuf, a value each line, and remembers the rest."""

    def __init__(self, path: str, remarks: list[str]):
        self._path, self.remarks = path, remarks
        self.unknown: list[Unknown] = []
        self.lines: dict[str, int] = {}
        self._output: list[str] = []
        self._sources: list[tuple[int, str]] = []
        """Of each line of `_output`: its line in the file and the path of its field."""

    def message(self, nodes: tuple[Node, ...]) -> Any:
        message = descriptors.new_message('TrainEvalPipelineConfig')
        self._block(nodes, message.DESCRIPTOR, '', {})
        try:
            text_format.Merge('\n'.join(self._output), message)
        except text_format.ParseError as error:
            place = self._sources[min((error.GetLine() or 1), len(self._sources)) - 1]
            reason = re.sub(r'^\d+:\d+ : ', '', str(error)).replace('stagetrain.tfod.', '')
            raise ConfigError(f'{self._path}:{place[0]}: {place[1]}: {reason}') from error
        return message

    def _block(self, nodes: tuple[Node, ...], descriptor: Any, path: str, counts: dict[str, int]) -> None:
        known = descriptor.fields_by_name
        present = self._without_overruled(list(self._renamed(nodes)), known, path)
        for node in present:
            field = known.get(node.name)
            here = f'{path}.{node.name}' if path else node.name
            if field is None:
                nearest = suggestion(node.name, known)
                self.unknown.append(Unknown(here, node.line, node.source, nearest))
                continue
            if (field.message_type is None) != (node.children is None) and (node.values or node.children is not None):
                expected = 'a block in braces' if field.message_type else 'a value'
                raise ConfigError(f'{self._path}:{node.line}: {here}: expected {expected}')
            if field.message_type is None:
                self._values(node, field, here)
            elif node.children is not None:
                self._message(node, field, here, counts)

    def _message(self, node: Node, field: Any, here: str, counts: dict[str, int]) -> None:
        if descriptors.is_repeated(field):
            number = counts.get(here, 0)
            counts[here] = number + 1
            here = f'{here}[{number}]'
        self.lines.setdefault(here, node.line)
        self._emit(f'{node.name} {{', node.line, here)
        self._block(node.children or (), field.message_type, here, counts)
        self._emit('}', node.line, here)

    def _values(self, node: Node, field: Any, here: str) -> None:
        self.lines[here] = node.line
        for value in node.values:
            if field.type == field.TYPE_STRING:
                value = self._as_meant(value, node, here)
            elif field.type == field.TYPE_BOOL:
                value = value.lower()
            self._emit(f'{node.name}: {value}', node.line, here)

    def _emit(self, text: str, line: int, path: str) -> None:
        self._output.append(text)
        self._sources.append((line, path))

    def _renamed(self, nodes: tuple[Node, ...]) -> Iterator[Node]:
        for node in nodes:
            if node.name in FORMER_NAMES and node.values:
                name, values = FORMER_NAMES[node.name]
                value = values.get(node.values[0].lower(), node.values[0])
                self.remarks.append(f'{self._path}:{node.line}: {node.name}: {node.values[0]} is read as {name}: {value}')
                node = dataclasses.replace(node, name=name, values=(value,))
            yield node

    def _without_overruled(self, nodes: list[Node], known: Any, path: str) -> list[Node]:
        """Leaves out what the API's reader overwrites with what comes later: values given twice, members of one choice."""
        last: dict[str, Node] = {}
        for node in nodes:
            slot = self._slot(node, known)
            if slot:
                last[slot] = node
        kept = []
        for node in nodes:
            winner = last.get(self._slot(node, known))
            if winner is None or winner is node or (winner.name == node.name and node.children is not None):
                kept.append(node)
                continue
            place = f'{self._path}:{node.line}: {path}.{node.name}'.replace(': .', ': ')
            text = 'is given again' if winner.name == node.name else f"gives way to '{winner.name}', another choice of its block,"
            self.remarks.append(
                f'{place}: {text} in line {winner.line}; the last one counts, as in the API: {_short(node.source)}'
            )
        return kept

    def _slot(self, node: Node, known: Any) -> str:
        """Returns what only one field of a block can fill: a choice, or a single value; nothing for other fields."""
        field = known.get(node.name)
        if field is None:
            return ''
        if field.containing_oneof is not None:
            return 'the choice'
        return node.name if field.message_type is None and not descriptors.is_repeated(field) else ''

    def _as_meant(self, value: str, node: Node, here: str) -> str:
        """Returns a text whose backslashes are those of a Windows path so that protobuf reads them as such."""
        body = value[1:-1]
        single = body.replace('\\\\', '')  # Two stand for one, as protobuf wants them.
        if not (_DRIVE.match(body) or _CONTROL.search(single) or '\\' in _ESCAPES.sub('', single)):
            return value
        quote = value[0]
        meant = body.replace('\\\\', '\\').replace('\\', '\\\\').replace(quote, '\\' + quote)
        self.remarks.append(f'{self._path}:{node.line}: {here}: its backslashes are read as those of a path: {body}')
        return f'{quote}{meant}{quote}'


def _short(text: str) -> str:
    """Returns a text on one line, cut where it is long."""
    line = ' '.join(text.split())
    return line if len(line) <= 80 else f'{line[:77]}...'
