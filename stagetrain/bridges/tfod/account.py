"""What became of every field of a `pipeline.config`: nothing is dropped in silence.

    account = Account(parsed)
    model = account.root.block('model').block('faster_rcnn')
    depth = model.take('first_stage_box_predictor_depth', 'model.rpn_head.num_filters')
    account.entries()          # every field of the file: mapped to what, without meaning here and why, or reported and why

A translator takes values through `Block`, and so says where they go; what no translator took has the text of `fields`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any

from stagetrain.bridges.tfod import fields
from stagetrain.bridges.tfod.descriptors import is_repeated
from stagetrain.bridges.tfod.reading import Parsed
from stagetrain.errors import ConfigError


class Kind(enum.Enum):
    """What became of a field."""

    MAPPED = 'mapped'
    """It decides keys of the pipeline file."""
    MEANINGLESS = 'without meaning here'
    """It decides nothing that a training result depends on here."""
    REPORTED = 'not carried over'
    """It decided something that is different here."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A field of the file."""

    path: str
    line: int | None
    value: str
    kind: Kind
    text: str
    """Keys of the pipeline file, or the reason."""


class Account:
    """Remembers where each field went."""

    def __init__(self, parsed: Parsed):
        """Args: parsed: the file."""
        self.parsed = parsed
        self._taken: dict[str, list[str]] = {}
        self._said: dict[str, tuple[Kind, str]] = {}
        self.remarks: list[str] = []

    @property
    def root(self) -> Block:
        """The whole file."""
        return Block(self, self.parsed.message, '')

    def take(self, path: str, target: str) -> None:
        """Notes that a field decides a key of the pipeline file."""
        targets = self._taken.setdefault(path, [])
        if target not in targets:
            targets.append(target)

    def say(self, path: str, kind: Kind, text: str) -> None:
        """Notes what became of a field, or of all in a block, and why; it counts more than `take`."""
        self._said[path] = (kind, text)

    def remark(self, path: str, text: str) -> None:
        """Adds a line for the screen, with the field's place."""
        self.remarks.append(f'{self.parsed.place(path)}: {text}')

    def entries(self) -> list[Entry]:
        """Returns every field that the file has, in the order of the messages."""
        return [self._entry(path, value, name) for path, value, name in leaves(self.parsed.message)]

    def _entry(self, path: str, value: Any, name: str) -> Entry:
        kind, text = self._judged(path, name, plain(value))
        return Entry(path, self.parsed.line(path), shown(value), kind, text)

    def _judged(self, path: str, name: str, value: Any) -> tuple[Kind, str]:
        if path in self._said:
            return self._said[path]
        if path in self._taken:
            return Kind.MAPPED, ', '.join(self._taken[path])
        block = path
        while '.' in block:
            block = block.rpartition('.')[0]
            if block in self._said:
                return self._said[block]
        if fields.is_as_here(name, value):
            return Kind.MEANINGLESS, f'is {shown(value)}, as here'
        verdict = fields.verdict(name)
        if verdict.kind == 'mapped':
            return Kind.REPORTED, verdict.otherwise or 'decides nothing in this combination with the other fields'
        return (Kind.MEANINGLESS if verdict.kind == 'meaningless' else Kind.REPORTED), verdict.text


@dataclasses.dataclass(frozen=True)
class Block:
    """A message of the file, with its place."""

    account: Account
    message: Any
    path: str

    def at(self, name: str) -> str:
        """Returns the path of a field."""
        return f'{self.path}.{name}' if self.path else name

    def has(self, name: str) -> bool:
        """Returns whether the file gives a field that is not repeated."""
        return bool(self.message.HasField(name))

    def take(self, name: str, *targets: str) -> Any:
        """Returns a value, the API's default where the file has none.

        Args:
          name: of a field that is no block.
          targets: keys of the pipeline file that it decides; none where it only decides which others do.
        """
        for target in targets:
            self.account.take(self.at(name), target)
        value = getattr(self.message, name)
        field = self.message.DESCRIPTOR.fields_by_name[name]
        if field.enum_type is not None:
            return field.enum_type.values_by_number[value].name
        return plain(value) if isinstance(value, float) else list(map(plain, value)) if is_repeated(field) else value

    def block(self, name: str) -> Block:
        """Returns a block, empty where the file has none."""
        return Block(self.account, getattr(self.message, name), self.at(name))

    def blocks(self, name: str) -> list[Block]:
        """Returns the blocks of a repeated field."""
        return [
            Block(self.account, item, f'{self.at(name)}[{number}]') for number, item in enumerate(getattr(self.message, name))
        ]

    def positive(self, name: str, *targets: str) -> Any:
        """Returns a number as `take` does.

        Raises:
          ConfigError: It is not above 0, so that nothing can be computed of it.
        """
        value = self.take(name, *targets)
        if not value > 0:
            place = self.account.parsed.place(self.at(name))
            raise ConfigError(f'{place}: found {value:g}; expected a number above 0')
        return value

    def choice(self) -> str:
        """Returns which member of its only choice a block has; nothing where it has none."""
        return self.message.WhichOneof('choice') or ''

    def chosen(self) -> Block:
        """Returns the block of `choice`, which there must be."""
        return self.block(self.choice())

    def say(self, name: str, text: str, kind: Kind = Kind.REPORTED) -> None:
        """Says what became of a field that the file has, or of all in a block; nothing where the file has none."""
        if self.has(name):
            self.account.say(self.at(name), kind, text)

    def remark(self, name: str, text: str) -> None:
        """Adds a line for the screen, with the field's place."""
        self.account.remark(self.at(name), text)


def leaves(message: Any, path: str = '') -> Iterator[tuple[str, Any, str]]:
    """Yields (path, value, `Message.field`) of every field that is given; of an empty block its path and None."""
    for field, value in message.ListFields():
        here, name = f'{path}.{field.name}' if path else field.name, f'{message.DESCRIPTOR.name}.{field.name}'
        if field.message_type is None:
            is_enum = field.enum_type is not None
            yield here, field.enum_type.values_by_number[value].name if is_enum else value, name
            continue
        blocks = [(f'{here}[{number}]', item) for number, item in enumerate(value)] if is_repeated(field) else [(here, value)]
        for place, block in blocks:
            if block.ListFields():
                yield from leaves(block, place)
            else:
                yield place, None, name


def plain(value: Any) -> Any:
    """Returns a number of 32 bits as the shortest decimal that means it: 0.7 and not 0.699999988079071."""
    if not isinstance(value, float) or value != value or value in (float('inf'), float('-inf')):
        return value
    return float(f'{value:.6g}') if abs(float(f'{value:.6g}') - value) <= abs(value) * 1e-6 else value


def shown(value: Any) -> str:
    """Returns a value as the report shows it."""
    if value is None:
        return '{}'
    if not isinstance(value, (str, int, float)):
        return '[' + ', '.join(shown(item) for item in value) + ']'
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) and not value.isupper() else str(plain(value))
