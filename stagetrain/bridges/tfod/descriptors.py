"""Classes of the Object Detection API's messages, made at run time from `messages`; no generated file is needed.

pipeline = new_message('TrainEvalPipelineConfig')
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from stagetrain.bridges.tfod import messages

_PACKAGE = 'stagetrain.tfod'
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    'bool': _Field.TYPE_BOOL,
    'float': _Field.TYPE_FLOAT,
    'int32': _Field.TYPE_INT32,
    'string': _Field.TYPE_STRING,
    'uint32': _Field.TYPE_UINT32,
}
_CHOICE = 'choice'
"""What the only oneof of a message is called here; files never name it."""


def new_message(name: str) -> Any:
    """Returns an empty message; `name` is one of `messages.MESSAGES`."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f'{_PACKAGE}.{name}'))()


def is_repeated(field: Any) -> bool:
    """Returns whether a field holds a list; newer releases of protobuf have no `label`, older ones no `is_repeated`."""
    return bool(field.is_repeated) if hasattr(field, 'is_repeated') else field.label == field.LABEL_REPEATED


@functools.cache
def message_names() -> tuple[str, ...]:
    """Returns the names of all messages, sorted."""
    return tuple(sorted(_entries(messages.MESSAGES)))


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name='stagetrain/tfod.proto', package=_PACKAGE, syntax='proto2')
    enums = _entries(messages.ENUMS)
    for name, values in enums.items():
        # Values of enums of one scope must differ, and many are called DEFAULT: each enum gets a scope of its own.
        enum = file.message_type.add(name=f'{name}Scope').enum_type.add(name=name)
        for value in values:
            word, number = value.split()
            enum.value.add(name=word, number=int(number))
    known = _entries(messages.MESSAGES)
    for name, fields in known.items():
        _describe(file.message_type.add(name=name), fields, set(enums))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _entries(text: str) -> dict[str, list[str]]:
    """Returns name -> fields, or values, of a text of `messages`."""
    found: dict[str, list[str]] = {}
    for line in text.replace('\n  ', ' ').splitlines():
        name, _, rest = line.partition(':')
        found[name] = [part.strip() for part in rest.split(',') if part.strip()]
    return found


def _describe(message: Any, fields: list[str], enums: set[str]) -> None:
    for text in fields:
        number, name, kind, *mark = text.split()
        kind, _, default = kind.partition('=')
        label = _Field.LABEL_REPEATED if kind.startswith('*') else _Field.LABEL_OPTIONAL
        field = message.field.add(name=name, number=int(number), label=label)
        _set_type(field, kind.removeprefix('*'), enums)
        if default:
            field.default_value = default
        if mark:
            if not message.oneof_decl:
                message.oneof_decl.add(name=_CHOICE)
            field.oneof_index = 0


def _set_type(field: Any, kind: str, enums: set[str]) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind in enums:
        field.type, field.type_name = _Field.TYPE_ENUM, f'.{_PACKAGE}.{kind}Scope.{kind}'
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f'.{_PACKAGE}.{kind}'
