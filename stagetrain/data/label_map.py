"""Label maps of the Object Detection API (`label_map.pbtxt`), without it: class names by id.

item { id: 1 name: 'cat' }
"""

from __future__ import annotations

import functools
import os
import pathlib
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from stagetrain.errors import DataError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = 'stagetrain.label_map'


def read_label_map(path: str | os.PathLike[str]) -> dict[int, str]:
    """Returns id -> name, sorted by id. `name` counts, as in the API, and `display_name` is not read; id 0 is the background.

    Raises:
      DataError: The file cannot be read, is no label map, or an id or a name is missing or given twice.
    """
    try:
        text = pathlib.Path(path).read_text(encoding='utf-8')
        # Keypoints, ancestors and what later versions may add do not matter here.
        items = text_format.Parse(text, _message_class()(), allow_unknown_field=True).item
    except OSError as error:
        raise DataError(f'{path}: cannot be read: {error.strerror}; expected a label map') from error
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise DataError(f"{path}: not a label map: {error}; expected entries such as item {{ id: 1 name: 'cat' }}") from error
    names: dict[int, str] = {}
    for number, item in enumerate(items, 1):
        if item.id == 0 and item.name in ('background', 'none_of_the_above'):
            continue
        if item.id < 1 or not item.name:
            raise DataError(f"{path}: item {number}: found id {item.id} and name '{item.name}'; expected an id from 1 and a name")
        if item.id in names or item.name in names.values():
            raise DataError(f"{path}: item {number}: id {item.id} or name '{item.name}' is given twice; both must differ")
        names[item.id] = item.name
    if not names:
        raise DataError(f"{path}: the label map is empty; expected entries such as item {{ id: 1 name: 'cat' }}")
    return dict(sorted(names.items()))


def render_label_map(names: dict[int, str]) -> str:
    """Returns the text of a label map that `read_label_map` reads back."""
    content = _message_class()()
    for number, name in names.items():
        content.item.add(id=number, name=name)
    return text_format.MessageToString(content, as_utf8=True)


@functools.cache
def _message_class() -> type[Any]:
    """Describes object_detection/protos/string_int_label_map.proto, as far as it is read."""
    file = descriptor_pb2.FileDescriptorProto(name='stagetrain/label_map.proto', package=_PACKAGE, syntax='proto2')
    item = file.message_type.add(name='Item')
    item.field.add(name='name', number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    item.field.add(name='id', number=2, type=_Field.TYPE_INT32, label=_Field.LABEL_OPTIONAL)
    whole = file.message_type.add(name='LabelMap')
    whole.field.add(name='item', number=1, type=_Field.TYPE_MESSAGE, label=_Field.LABEL_REPEATED, type_name=f'.{_PACKAGE}.Item')
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f'{_PACKAGE}.LabelMap'))
