"""`tf.train.Example` without TensorFlow: the message, described at run time, and its lists of values by name.

values = features(record)            # {'image/encoded': (b'...',), 'image/height': (480,), ...}
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = 'stagetrain'  # Its own name and pool, so that TensorFlow's own description may be loaded beside it.
_LISTS = (
    ('bytes_list', 'BytesList', _Field.TYPE_BYTES),
    ('float_list', 'FloatList', _Field.TYPE_FLOAT),
    ('int64_list', 'Int64List', _Field.TYPE_INT64),
)


def features(record: bytes) -> Mapping[str, tuple[Any, ...]]:
    """Returns the values of each feature: bytes, float or int.

    Raises:
      ValueError: The record is not an Example.
    """
    example = example_class()()
    try:
        example.ParseFromString(record)
    except message.DecodeError as error:
        raise ValueError(f'not a tf.train.Example: {error}') from error
    return {name: _values(feature) for name, feature in example.features.feature.items()}


def _values(feature: Any) -> tuple[Any, ...]:
    kind = feature.WhichOneof('kind')
    return tuple(getattr(feature, kind).value) if kind else ()


@functools.cache
def example_class() -> type[Any]:
    """Returns the message class; it reads and writes the same bytes as `tf.train.Example`."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f'{_PACKAGE}.Example'))


def _file() -> descriptor_pb2.FileDescriptorProto:
    """Describes tensorflow/core/example/{example,feature}.proto."""
    file = descriptor_pb2.FileDescriptorProto(name='stagetrain/example.proto', package=_PACKAGE, syntax='proto3')
    for _, name, kind in _LISTS:
        _add_field(file.message_type.add(name=name), 'value', 1, kind, repeated=True)
    feature = file.message_type.add(name='Feature')
    feature.oneof_decl.add(name='kind')
    for number, (name, kind_name, _) in enumerate(_LISTS, 1):
        _add_field(feature, name, number, _Field.TYPE_MESSAGE, kind_name).oneof_index = 0
    all_features = file.message_type.add(name='Features')
    entry = all_features.nested_type.add(name='FeatureEntry')
    entry.options.map_entry = True
    _add_field(entry, 'key', 1, _Field.TYPE_STRING)
    _add_field(entry, 'value', 2, _Field.TYPE_MESSAGE, 'Feature')
    _add_field(all_features, 'feature', 1, _Field.TYPE_MESSAGE, 'Features.FeatureEntry', repeated=True)
    _add_field(file.message_type.add(name='Example'), 'features', 1, _Field.TYPE_MESSAGE, 'Features')
    return file


def _add_field(
    parent: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: _Field.Type.ValueType,
    type_name: str = '',
    *,
    repeated: bool = False,
) -> descriptor_pb2.FieldDescriptorProto:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = parent.field.add(name=name, number=number, type=kind, label=label)
    if type_name:
        field.type_name = f'.{_PACKAGE}.{type_name}'
    return field
