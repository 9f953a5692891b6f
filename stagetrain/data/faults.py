"""The faults of a data set by kind: how many, the first of each, and the likely cause. What a person reads first.

groups = by_kind(dataset, source)
lines(groups, 3)        # ['48 of kind 'inverted box' in 20 files', '  likely cause: ...', '  a.xml: object[1]/bndbox: ...']
"""

from __future__ import annotations

import collections
import dataclasses
import os
import shlex
from collections.abc import Sequence
from typing import Any

from stagetrain.config import schema, specs
from stagetrain.data import causes
from stagetrain.data.annotation import BadItem, Dataset
from stagetrain.data.recognise import AUTO, recognised
from stagetrain.errors import DataError

NUM_EXAMPLES = 3
"""Faults of a kind that are shown where not all are asked for."""


@dataclasses.dataclass(frozen=True)
class FaultGroup:
    """The faults of one kind, and the likely cause in a sentence, '' where the data tell none."""

    kind: str
    items: tuple[BadItem, ...]
    cause: str

    def to_json(self) -> dict[str, Any]:
        """Returns the group in plain values, with its first faults."""
        examples = [{'file': item.file, 'element': item.element, 'reason': item.reason} for item in self.items[:NUM_EXAMPLES]]
        return {'kind': self.kind, 'count': len(self.items), 'files': self.num_files, 'cause': self.cause, 'examples': examples}

    @property
    def num_files(self) -> int:
        """Returns in how many files the faults stand."""
        return len({item.file for item in self.items})


def by_kind(dataset: Dataset, source: schema.DataSource) -> tuple[FaultGroup, ...]:
    """Returns the faults of a data set by kind, the most frequent first.

    Args:
      dataset: What was read.
      source: From where, for the form of its boxes and for files that may lie elsewhere.
    """
    items = collections.defaultdict(list)
    for item in dataset.bad:
        items[item.kind].append(item)
    spec = specs.data_format(_format(source))
    has_folder = 'images' in spec.reads
    root = source.path if os.path.isdir(source.path) else os.path.dirname(source.path) or '.'
    groups = [
        FaultGroup(kind, tuple(found), causes.likely(kind, found, dataset, spec.box_form, root, has_image_folder=has_folder))
        for kind, found in items.items()
    ]
    return tuple(sorted(groups, key=lambda group: (-len(group.items), group.kind)))


def lines(groups: Sequence[FaultGroup], num_examples: int | None = NUM_EXAMPLES) -> list[str]:
    """Returns what a person reads: kind, count and cause, and the first faults; None for `num_examples` means all."""
    found: list[str] = []
    causes_shown: set[str] = set()
    for group in groups:
        files = '1 file' if group.num_files == 1 else f'{group.num_files} files'
        found.append(f'{len(group.items)} x {group.kind}, in {files}')
        if group.cause and group.cause not in causes_shown:
            causes_shown.add(group.cause)
            found.append(f'  likely cause: {group.cause}')
        found += [f'  {item}' for item in group.items[:num_examples]]
        rest = 0 if num_examples is None else len(group.items) - num_examples
        if rest > 0:
            found.append(f'  and {rest} more')
    return found


def summary(dataset: Dataset, source: schema.DataSource, data: schema.Data) -> list[str]:
    """Returns the faults of a pipeline's data set as `data check` counts them, indented, and what lists all; [] without any."""
    if not dataset.bad:
        return []
    shown = [f'  {line}' for line in lines(by_kind(dataset, source))]
    return [*shown, f'{listing_command(source, data.classes, data.ignore_classes)} lists all.']


def listing_command(source: schema.DataSource, classes: Sequence[str], ignored: Sequence[str]) -> str:
    """Returns the command that lists all faults of a data set."""
    options = {
        'format': source.format,
        'split': source.split,
        'images': source.images,
        'class_file': source.class_file,
        'classes': ','.join(classes),
        'ignore_classes': ','.join(ignored),
    }
    given = [f'--{name} {shlex.quote(value)}' for name, value in options.items() if value and value != AUTO]
    return ' '.join(['stagetrain data check', shlex.quote(source.path), *given, '--all'])


def _format(source: schema.DataSource) -> str:
    try:
        return recognised(source)[0].format
    except DataError:
        return source.format
