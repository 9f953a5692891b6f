"""Every field of a file, given another value, is found in the pipeline file or in the report."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from google.protobuf import text_format

from stagetrain.bridges.tfod import reading
from stagetrain.bridges.tfod.account import Kind
from stagetrain.bridges.tfod.descriptors import is_repeated
from stagetrain.bridges.tfod.importing import Choices, Imported, import_file
from stagetrain.errors import StagetrainError
from tests.bridges.tfod import files

CHOICES = Choices(allow_unmatched=True)


@dataclasses.dataclass(frozen=True)
class Change:
    """Another value of one field."""

    path: str
    make: Callable[[], Callable[[], None]]
    """Makes it, and returns what takes it back."""


def changes(message: Any, path: str = '') -> Iterator[Change]:
    """Yields a change of every field of a message that is given."""
    for field, value in message.ListFields():
        here = f'{path}.{field.name}' if path else field.name
        if field.message_type is None:
            yield Change(here, lambda field=field, value=value: _set(message, field, value))
            continue
        items = [(f'{here}[{number}]', item) for number, item in enumerate(value)] if is_repeated(field) else [(here, value)]
        for place, item in items:
            yield from changes(item, place)
            if not item.ListFields() and not is_repeated(field):
                yield Change(place, lambda field=field: _clear(message, field))


def _set(message: Any, field: Any, value: Any) -> Callable[[], None]:
    if is_repeated(field):
        items = getattr(message, field.name)
        former = items[0]
        items[0] = _other(field, former)
        return lambda: items.__setitem__(0, former)
    setattr(message, field.name, _other(field, value))
    return lambda: setattr(message, field.name, value)


def _clear(message: Any, field: Any) -> Callable[[], None]:
    message.ClearField(field.name)
    return lambda: getattr(message, field.name).SetInParent()


def _other(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        numbers = [known.number for known in field.enum_type.values]
        return numbers[(numbers.index(value) + 1) % len(numbers)]
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return f'{value}x'
    return value + 1 if isinstance(value, int) else value * 0.5 or 0.5


def keys(imported: Imported) -> list[str]:
    """Returns the pipeline file without its comments."""
    return [line.split('  #')[0] for line in imported.pipeline.splitlines() if not line.lstrip().startswith('#')]


Import = Callable[[pathlib.Path, Choices], Imported]


def dropped(path: pathlib.Path, copy: pathlib.Path, choices: Choices, importing: Import = import_file) -> tuple[int, list[str]]:
    """Returns how many fields a file has, and which of them can have another value without a trace."""
    message = reading.read(path).message
    copy.write_text(text_format.MessageToString(message))
    plain = import_file(copy, choices)
    found = {entry.path: entry for entry in plain.entries}
    silent, number = [], 0
    for change in list(changes(message)):
        number += 1
        undo = change.make()
        copy.write_text(text_format.MessageToString(message))
        undo()
        try:
            changed = importing(copy, choices)
        except StagetrainError as error:
            silent += [] if change.path.rpartition('.')[2] in str(error) else [f'{change.path}: {error}']
            continue
        entry = {entry.path: entry for entry in changed.entries}.get(change.path)
        former = found[change.path]
        is_reported = (
            entry is None or entry.kind is not former.kind or (entry.kind is not Kind.MAPPED and entry.value != former.value)
        )
        if keys(changed) == keys(plain) and not is_reported:
            silent.append(change.path)
    return number, silent


@pytest.mark.parametrize('name', files.ALL)
def test_no_field_is_dropped_in_silence(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / 'pipeline.config'
    path.write_text(files.ALL[name])
    number, silent = dropped(path, tmp_path / 'copy.config', CHOICES)
    assert (number > 20, silent) == (True, [])


def test_what_is_dropped_would_be_seen(tmp_path: pathlib.Path) -> None:
    """The test above can fail: an import that always gives the same is caught in every field that it says is mapped."""
    path = tmp_path / 'other' / 'copy.config'
    path.parent.mkdir()
    path.write_text(files.CENTERNET)
    plain = import_file(path, CHOICES)
    number, silent = dropped(path, tmp_path / 'copy.config', CHOICES, lambda copy, choices: plain)
    assert len(silent) == number


@pytest.mark.slow
def test_no_field_of_a_sample_is_dropped_in_silence(tfod_samples: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    total, silent = 0, []
    for path in tfod_samples:
        for backbone in (None, 'keras_resnet101'):
            try:
                number, found = dropped(path, tmp_path / 'copy.config', dataclasses.replace(CHOICES, backbone=backbone))
            except StagetrainError:
                continue
            total += number
            silent += [f'{path.name}: {place}' for place in found]
            break
    assert silent == []
    assert total > 3000
